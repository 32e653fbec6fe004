#include "levels.h"

#include <algorithm>
#include <cmath>

#include "../error.h"
#include "../plain/shown.h"

namespace clap::inner {

namespace {

constexpr double least_rate = 1000, most_rate = 768000;
constexpr float most_peak = 100.0f, int16_scale = 32767.0f;

}  // namespace

std::vector<float> Levels::mono(const float* frames, std::size_t count, int channels,
                                bool integers) {
    if (bad_) check();
    if (!integers) check_peak(frames, count * static_cast<std::size_t>(channels), name_);
    std::vector<float> found(count);
    const auto width = static_cast<std::size_t>(channels);
    for (std::size_t i = 0; i < count; ++i) {
        float sum = frames[i * width];
        for (std::size_t j = 1; j < width; ++j) sum += frames[i * width + j];
        found[i] = channels > 1 ? sum / static_cast<float>(channels) : sum;
    }
    seen_ += static_cast<std::int64_t>(count);
    if (integers) return found;
    const auto finite = [](float sample) { return std::isfinite(sample); };
    const auto first = std::find_if_not(found.begin(), found.end(), finite);
    if (first == found.end()) return found;
    first_ = seen_ - static_cast<std::int64_t>(found.end() - first);
    bad_ =
        static_cast<std::int64_t>(found.size()) - std::count_if(found.begin(), found.end(), finite);
    found.erase(first, found.end());
    return found;
}

void Levels::check() const {
    if (bad_)
        throw Error(Code::audio, name_ + " has NaN or infinite samples (" + std::to_string(bad_) +
                                     ", the first at index " + std::to_string(first_) +
                                     "). Repair the recording.");
    if (!seen_)
        throw Error(Code::audio, name_ + " holds no audio: 0 samples. It may be truncated.");
}

void check_peak(const float* samples, std::size_t count, const std::string& name) {
    float peak = 0.0f;
    for (std::size_t i = 0; i < count; ++i)
        if (std::isfinite(samples[i])) peak = std::max(peak, std::fabs(samples[i]));
    if (peak > most_peak)
        throw Error(
            Code::audio,
            name + " has a peak of " + general(static_cast<double>(peak)) +
                ": floats must lie in [-1, 1]. Divide it by its full scale (32768 for 16 bit), or "
                "pass the integers.");
}

void round_trip_int16(std::vector<float>& samples) {
    for (float& sample : samples) {
        const float scaled = std::min(std::max(sample, -1.0f), 1.0f) * int16_scale;
        sample = std::trunc(scaled) / int16_scale;
    }
}

void check_rate(double rate, const std::string& name) {
    if (rate != std::floor(rate))
        throw Error(Code::audio, "sample_rate is " + to_text(rate) +
                                     ": pass a whole number of Hz, such as 44100.");
    if (rate < least_rate || rate > most_rate)
        throw Error(Code::audio,
                    name + " has a sample rate of " + fixed(rate, 0) +
                        " Hz; 1000 to 768000 Hz are taken. Check the rate (it is in Hz, not kHz).");
}

}  // namespace clap::inner
