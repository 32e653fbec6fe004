// Sample values: full scales, channels, and what no recording holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace clap::inner {

constexpr int most_channels = 32;

// Mixes blocks of a recording down, and remembers what is wrong with their values.
class Levels {
  public:
    explicit Levels(std::string name) : name_(std::move(name)) {}

    // The mean over channels of a block of frames; of one with samples that are not finite, those
    // before the first of them, and the next call throws. `integers` need no look at their values.
    std::vector<float> mono(const float* frames, std::size_t count, int channels, bool integers);
    // Throws where there were values that are not finite, or none at all.
    void check() const;

  private:
    std::string name_;
    std::int64_t seen_ = 0, bad_ = 0, first_ = 0;
};

// Throws where floats are at the scale of integers.
void check_peak(const float* samples, std::size_t count, const std::string& name);
// Clips to [-1, 1] and truncates to the int16 grid, as some families were trained.
void round_trip_int16(std::vector<float>& samples);
// A sample rate that recordings have, or an error.
void check_rate(double rate, const std::string& name);

}  // namespace clap::inner
