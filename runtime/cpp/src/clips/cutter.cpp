#include "cutter.h"

#include <algorithm>

namespace clap::inner {

std::vector<float> filled(const float* samples, std::int64_t count, std::int64_t window,
                          const std::string& rule) {
    std::vector<float> found(static_cast<std::size_t>(window), 0.0f);
    const std::int64_t copies = rule == "repeatpad" ? window / count : 1;
    const std::int64_t end = rule == "repeat" ? window : copies * count;
    for (std::int64_t at = 0; at < end; at += count)
        std::copy_n(samples, std::min(count, end - at), found.begin() + at);
    return found;
}

Cutter::Cutter(const AudioSpec& spec, const Policy& policy, std::int64_t total)
    : window_(spec.window_samples),
      hop_(policy.hop_samples(spec)),
      endless_(policy.windows == "all"),
      tail_(policy.tail),
      fill_(spec.fill),
      data_(static_cast<std::size_t>(3 * spec.window_samples)) {
    if (endless_) {
        next_ = 0;
        return;
    }
    starts_ = policy.starts(spec, total);
    next_ = starts_.empty() ? never : starts_[0];
}

void Cutter::advance() {
    if (endless_)
        next_ = hop_ < never - next_ ? next_ + hop_ : never;
    else
        next_ = ++place_ < starts_.size() ? starts_[place_] : never;
}

void Cutter::push(const float* block, std::size_t count, const std::function<void(Cut)>& take) {
    const auto length = static_cast<std::int64_t>(count);
    for (std::int64_t at = 0; at < length; at += window_) {
        if (done()) return;
        keep(block + at, std::min(window_, length - at));
        while (next_ + window_ <= total_) {
            take(cut(next_, next_ + window_));
            advance();
        }
    }
}

void Cutter::finish(const std::function<void(Cut)>& take) {
    const std::int64_t end = total_;
    if (done() || end <= heard_) return;
    if (end < window_)
        take(cut(0, end));
    else if (tail_ == "aligned")
        take(cut(end - window_, end));
    else if (tail_ == "filled" && next_ < end)
        take(cut(next_, end));
}

void Cutter::keep(const float* block, std::int64_t count) {
    std::int64_t used = total_ - from_;
    if (used + count > static_cast<std::int64_t>(data_.size())) {
        // An aligned window may still begin a window before the end, wherever the next one does.
        const std::int64_t kept = std::min(used, std::max(window_, total_ - next_));
        std::copy(data_.begin() + (used - kept), data_.begin() + used, data_.begin());
        from_ = total_ - kept;
        used = kept;
    }
    std::copy_n(block, count, data_.begin() + used);
    total_ += count;
}

Cut Cutter::cut(std::int64_t start, std::int64_t end) {
    heard_ = end;
    const float* samples = data_.data() + (start - from_);
    if (end - start < window_) return {start, end, filled(samples, end - start, window_, fill_)};
    return {start, end, std::vector<float>(samples, samples + window_)};
}

}  // namespace clap::inner
