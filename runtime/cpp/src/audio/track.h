// A part of an audio file through libsndfile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "structure.h"

struct sf_private_tag;

namespace clap::inner {

// Nothing can be made of a part: why.
struct Undecodable {
    std::string reason;
};

class Track {
  public:
    // Throws Undecodable, and errors of rates and channels that are not taken.
    Track(const OpenFile& file, const Part& part, const std::string& name);
    ~Track();
    Track(const Track&) = delete;
    Track& operator=(const Track&) = delete;

    // The next frames, all channels side by side; empty at the end.
    std::vector<float> next();

    int rate = 0, channels = 0;
    bool integers = false;     // the samples were integers, whose values need no look
    std::int64_t stated = -1;  // frames that it should have, by its header; -1 where not known
    std::string trouble;       // why the blocks are not all of it, a clause; known at the end

  private:
    struct View;  // the bytes of the part as libsndfile asks for them
    std::unique_ptr<View> view_;
    sf_private_tag* file_ = nullptr;
    std::int64_t frames_ = 0;
    bool ended_ = false;
};

}  // namespace clap::inner
