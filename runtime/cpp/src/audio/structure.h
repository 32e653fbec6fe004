// What a WAV or AIFF file holds behind what its header says.
//
// libsndfile believes headers: it stops at the length that they state, and at the end of the first
// of several files that were joined. So the chunks are walked here first; see
// runtime/audio/chunks.py. Files of other kinds are one part, as they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../plain/files.h"

namespace clap::inner {

// A stretch of a file that decodes by itself; `head` stands in front of its bytes.
struct Part {
    std::uint64_t start, end;
    std::string head;
};

struct Structure {
    std::vector<Part> parts;
    std::string warning;  // what is wrong with the file, a clause; or nothing
};

Structure structure_of(const OpenFile& file);

}  // namespace clap::inner
