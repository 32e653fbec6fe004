// From one sample rate to another, in blocks, with soxr's high-quality filter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

struct soxr;

namespace clap::inner {

class Resampler {
  public:
    // `kind`: "soxr", or "librosa", which is the same with a length of ceil(n * ratio).
    Resampler(std::int64_t rate, std::int64_t target, const std::string& kind = "soxr");
    ~Resampler();
    Resampler(const Resampler&) = delete;
    Resampler& operator=(const Resampler&) = delete;

    std::vector<float> push(const float* block, std::size_t count);  // what is ready
    std::vector<float> finish();                                     // what was held back

  private:
    std::vector<float> run(const float* block, std::size_t count, bool last);

    std::int64_t rate_, target_;
    bool librosa_;
    std::int64_t taken_ = 0, given_ = 0;
    soxr* stream_ = nullptr;
};

// All of a clip at once. Throws where it is shorter than one sample of the target.
std::vector<float> resampled(const std::vector<float>& samples, std::int64_t rate,
                             std::int64_t target);
[[noreturn]] void too_short(std::int64_t samples, std::int64_t rate, std::int64_t target);

}  // namespace clap::inner
