#include "listener.h"

#include <algorithm>
#include <cmath>

#include "../audio/levels.h"
#include "../error.h"
#include "../plain/shown.h"

namespace clap::inner {

Listener::Listener(std::shared_ptr<const Classifier> classifier, double sample_rate, double hop,
                   std::optional<double> gate)
    : classifier_(std::move(classifier)), spec_(classifier_->manifest().audio), gate_(gate) {
    check_rate(sample_rate, "the stream");
    rate_ = static_cast<std::int64_t>(sample_rate);
    policy_ = classifier_->encoder().policy().timeline(spec_, hop);
    hop_ = policy_.hop_samples(spec_);
    if (gate_ && !std::isfinite(*gate_))
        throw Error(Code::argument,
                    "gate=" + to_text(*gate_) + ": pass a number of dBFS, or None.");
    begin();
}

double Listener::seconds() const {
    return static_cast<double>(samples_) / static_cast<double>(rate_) + missing_ + owed_;
}

std::vector<Segment> Listener::feed(const Source& chunk) {
    const std::vector<float> samples = checked(chunk);
    if (!samples.empty()) {
        samples_ += static_cast<std::int64_t>(samples.size());
        hear(samples);
    }
    return taken();
}

std::vector<Segment> Listener::gap(double seconds) {
    if (!std::isfinite(seconds))
        throw Error(Code::argument, "seconds=" + to_text(seconds) + ": pass a number of seconds.");
    if (seconds < 0)
        throw Error(Code::argument,
                    "seconds=" + to_text(seconds) + ": a gap has a positive length.");
    owed_ += seconds;
    if (seconds * static_cast<double>(spec_.sample_rate) < static_cast<double>(hop_)) {
        const auto count = static_cast<std::int64_t>(owed_ * static_cast<double>(rate_));
        owed_ -= static_cast<double>(count) / static_cast<double>(rate_);
        samples_ += count;
        hear(std::vector<float>(static_cast<std::size_t>(count), 0.0f));
        return taken();
    }
    const auto over = [&] {  // the gap is behind the recording that ends here
        missing_ += owed_;
        owed_ = 0.0;
        begin();
    };
    try {
        end();
    } catch (...) {
        over();
        throw;
    }
    over();
    return taken();
}

std::vector<Segment> Listener::flush() {
    end();
    return taken();
}

std::vector<float> Listener::checked(const Source& chunk) {
    const std::string where = "the chunk at " + fixed(seconds(), 3) + " s of the stream";
    if (chunk.samples.empty()) return {};
    const std::size_t channels = std::max<std::size_t>(1, chunk.channels);
    if (!form_.empty() && (channels != channels_ || chunk.type != form_))
        throw Error(Code::audio,
                    where + " has " + std::to_string(channels) + " channel(s) of " + chunk.type +
                        ", and the stream had " + std::to_string(channels_) + " of " + form_ +
                        ". Feed chunks of one form: (samples,) or (channels, samples).");
    std::vector<float> found;
    try {
        Source own = chunk;
        own.rate = static_cast<double>(rate_);
        listen(own, 0, 0.0, "soxr", [&](const float* block, std::size_t count) {
            found.insert(found.end(), block, block + count);
            return true;
        });
    } catch (const Error& error) {
        throw Error(Code::audio, where + " cannot be used: " + error.what());
    }
    form_ = chunk.type;
    channels_ = channels;
    return found;
}

void Listener::begin() {
    base_ = seconds();
    resampler_ = std::make_unique<Resampler>(rate_, spec_.sample_rate, policy_.quirks.resampler);
    cutter_ = std::make_unique<Cutter>(spec_, policy_);
    begun_ = false;
}

void Listener::hear(const std::vector<float>& samples) {
    begun_ = true;
    push(resampler_->push(samples.data(), samples.size()));
}

void Listener::end() {
    if (!begun_) return;
    push(resampler_->finish());
    guarded([&] {
        std::vector<Cut> batch;
        cutter_->finish([&](Cut cut) { batch.push_back(std::move(cut)); });
        classify(batch);
    });
    begin();
}

void Listener::push(std::vector<float> samples) {
    if (spec_.int16_round_trip) round_trip_int16(samples);
    guarded([&] {
        std::vector<Cut> batch;
        cutter_->push(samples.data(), samples.size(), [&](Cut cut) {
            batch.push_back(std::move(cut));
            if (batch.size() == Encoder::batch) classify(batch);
        });
        classify(batch);
    });
}

void Listener::guarded(const std::function<void()>& work) {
    try {
        work();
    } catch (...) {
        begin();  // the rest of the chunk is lost
        throw;
    }
}

void Listener::classify(std::vector<Cut>& batch) {
    std::vector<std::vector<float>> chosen;
    std::vector<bool> loud;
    for (const Cut& cut : batch) {
        loud.push_back(!gate_ || loudness(cut.row.data(), cut.end - cut.start, hop_) >= *gate_);
        if (loud.back()) chosen.push_back(cut.row);
    }
    const Matrix rows =
        chosen.empty() ? Matrix() : classifier_->encoder().embed_windows(chosen, false);
    const auto rate = static_cast<double>(spec_.sample_rate);
    std::size_t next = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        Segment segment{base_ + static_cast<double>(batch[i].start) / rate,
                        base_ + static_cast<double>(batch[i].end) / rate,
                        {}};
        if (loud[i]) {
            const float* row = rows.row(next++);
            segment.predictions = classifier_->rank(std::vector<float>(row, row + rows.columns));
        } else {
            ++silent_;
        }
        found_.push_back(std::move(segment));
    }
    batch.clear();
}

std::vector<Segment> Listener::taken() {
    std::vector<Segment> found;
    found.swap(found_);
    return found;
}

double loudness(const float* samples, std::int64_t count, std::int64_t stretch) {
    stretch = std::min(stretch, count);
    const auto power = [&](std::int64_t from) {
        double sum = 0.0;
        for (std::int64_t i = from; i < from + stretch; ++i)
            sum += static_cast<double>(samples[i]) * samples[i];
        return sum;
    };
    double most = 0.0;
    for (std::int64_t at = 0; at + stretch <= count; at += stretch)
        most = std::max(most, power(at));
    if (count % stretch) most = std::max(most, power(count - stretch));
    return most > 0.0 ? 10.0 * std::log10(most / static_cast<double>(stretch)) : -INFINITY;
}

}  // namespace clap::inner
