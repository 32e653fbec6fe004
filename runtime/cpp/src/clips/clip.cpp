#include "clip.h"

#include <cmath>
#include <limits>
#include <utility>

#include "../audio/levels.h"
#include "../error.h"

namespace clap::inner {

std::string cuts(const Source& source, const AudioSpec& spec, const Policy& policy,
                 const std::function<void(Cut)>& take) {
    const double keep_from = source.path.empty() ? std::numeric_limits<double>::infinity()
                                                 : static_cast<double>(spec.window_samples) /
                                                       static_cast<double>(spec.sample_rate);
    const auto heard = [&](const Hear& hear) {
        return listen(source, spec.sample_rate, keep_from, policy.quirks.resampler, hear);
    };
    std::int64_t total = 0;
    // Decoded twice where the length is needed first: a recording may be longer than the memory.
    if (policy.needs_total()) total = heard([](const float*, std::size_t) { return true; }).samples;
    Cutter cutter(spec, policy, total);
    std::int64_t count = 0;
    const auto counted = [&](Cut cut) {
        ++count;
        take(std::move(cut));
    };
    std::vector<float> rounded;
    const Heard found = heard([&](const float* block, std::size_t length) {
        if (spec.int16_round_trip) {
            rounded.assign(block, block + length);
            round_trip_int16(rounded);
            block = rounded.data();
        }
        cutter.push(block, length, counted);
        return !cutter.done();
    });
    cutter.finish(counted);
    if (!count) throw Error(Code::audio, source.name() + " was shorter when it was read again.");
    return found.warning;
}

}  // namespace clap::inner
