// Windows cut as the samples come: the same as of the whole clip, at a fixed memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../bundle/manifest.h"

namespace clap::inner {

struct Cut {
    std::int64_t start, end;  // of what it holds of the recording, in samples
    std::vector<float> row;   // [window_samples]
};

// Extends a clip that is shorter than the window.
std::vector<float> filled(const float* samples, std::int64_t count, std::int64_t window,
                          const std::string& rule);

class Cutter {
  public:
    // `total` is the recording's length, for a policy that needs it.
    Cutter(const AudioSpec& spec, const Policy& policy, std::int64_t total = 0);

    // Whether no window is left that more samples could be wanted for.
    bool done() const { return next_ == never; }
    // Gives `take` the windows that are complete after another block.
    void push(const float* block, std::size_t count, const std::function<void(Cut)>& take);
    // The windows at the clip's end, if it has any more.
    void finish(const std::function<void(Cut)>& take);

  private:
    static constexpr std::int64_t never = std::int64_t{1} << 62;

    void advance();
    void keep(const float* block, std::int64_t count);
    Cut cut(std::int64_t start, std::int64_t end);

    std::int64_t window_, hop_;
    bool endless_;
    std::vector<std::int64_t> starts_;
    std::size_t place_ = 0;
    std::string tail_, fill_;
    std::vector<float> data_;
    std::int64_t from_ = 0, total_ = 0;  // of the clip: where the data begin and end
    std::int64_t heard_ = 0;             // end of the last window
    std::int64_t next_ = never;
};

}  // namespace clap::inner
