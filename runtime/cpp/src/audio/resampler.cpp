#include "resampler.h"

#include <soxr.h>

#include <algorithm>
#include <cmath>

#include "../error.h"

namespace clap::inner {

namespace {

constexpr std::size_t largest = 1 << 18;  // samples that are handed on at once

}  // namespace

Resampler::Resampler(std::int64_t rate, std::int64_t target, const std::string& kind)
    : rate_(rate), target_(target), librosa_(kind == "librosa" && rate != target) {
    if (rate == target) return;
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_error_t error = nullptr;
    stream_ = soxr_create(static_cast<double>(rate), static_cast<double>(target), 1, &error, &io,
                          &quality, nullptr);
    if (error || !stream_)
        throw Error(Code::audio,
                    std::string("soxr cannot be used (") + (error ? error : "no memory") + ").");
}

Resampler::~Resampler() {
    if (stream_) soxr_delete(stream_);
}

std::vector<float> Resampler::push(const float* block, std::size_t count) {
    if (!stream_) return std::vector<float>(block, block + count);
    std::vector<float> found;
    for (std::size_t at = 0; at < count; at += largest) {
        const auto part = run(block + at, std::min(largest, count - at), false);
        found.insert(found.end(), part.begin(), part.end());
    }
    return found;
}

std::vector<float> Resampler::finish() {
    if (!stream_) return {};
    std::vector<float> found = run(nullptr, 0, true);
    if (librosa_) {
        const double ratio = static_cast<double>(target_) / static_cast<double>(rate_);
        const std::int64_t before = given_ - static_cast<std::int64_t>(found.size());
        const auto wanted =
            static_cast<std::int64_t>(std::ceil(static_cast<double>(taken_) * ratio)) - before;
        found.resize(static_cast<std::size_t>(std::max<std::int64_t>(0, wanted)), 0.0f);
    }
    return found;
}

std::vector<float> Resampler::run(const float* block, std::size_t count, bool last) {
    taken_ += static_cast<std::int64_t>(count);
    std::vector<float> found;
    // Room for what these samples become, and for what was held back.
    const std::size_t room = static_cast<std::size_t>(std::ceil(static_cast<double>(count) *
                                                                static_cast<double>(target_) /
                                                                static_cast<double>(rate_))) +
                             4096;
    std::size_t used = 0, made = 0;
    do {
        const std::size_t before = found.size();
        found.resize(before + room);
        std::size_t taken = 0;
        made = 0;
        const soxr_error_t error =
            soxr_process(stream_, last ? nullptr : block + used, last ? 0 : count - used, &taken,
                         found.data() + before, room, &made);
        if (error) throw Error(Code::audio, std::string("soxr cannot be used (") + error + ").");
        used += taken;
        found.resize(before + made);
    } while (made == room || (!last && used < count));
    given_ += static_cast<std::int64_t>(found.size());
    return found;
}

std::vector<float> resampled(const std::vector<float>& samples, std::int64_t rate,
                             std::int64_t target) {
    if (rate == target) return samples;
    Resampler stream(rate, target);
    std::vector<float> found = stream.push(samples.data(), samples.size());
    const std::vector<float> rest = stream.finish();
    found.insert(found.end(), rest.begin(), rest.end());
    if (found.empty()) too_short(static_cast<std::int64_t>(samples.size()), rate, target);
    return found;
}

void too_short(std::int64_t samples, std::int64_t rate, std::int64_t target) {
    throw Error(Code::audio, "the recording is too short: its length in samples is " +
                                 std::to_string(samples) + " at " + std::to_string(rate) +
                                 " Hz, and 0 at " + std::to_string(target) + " Hz.");
}

}  // namespace clap::inner
