// A recording of any kind as blocks of mono samples at one rate.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace clap::inner {

// What is heard: a file, or samples in memory.
struct Source {
    std::string path;            // of a file; empty for samples
    std::vector<float> samples;  // channels one behind the other
    std::size_t channels = 0;    // 0: a plain list of samples, which is one channel
    double rate = 0;
    std::string type = "float32";  // that the samples had, as numpy calls it

    static Source file(std::string path);
    static Source array(std::vector<float> samples, double rate);

    std::string name() const;  // in sentences
};

// Where a recording is heard: mono blocks in order.
using Hear = std::function<bool(const float* block, std::size_t count)>;  // false: enough

struct Heard {
    std::int64_t rate = 0;     // of the blocks, in Hz
    std::int64_t samples = 0;  // given out
    std::string warning;       // what is wrong with a recording of which a part is used
};

// Decodes a recording, and brings it to a rate.
//
// `target`: in Hz, or 0 for the recording's own. `keep_from`: a file that breaks off later than
// this, in seconds, is used as far as it went, with a warning.
Heard listen(const Source& source, std::int64_t target, double keep_from,
             const std::string& resampler, const Hear& hear);

}  // namespace clap::inner
