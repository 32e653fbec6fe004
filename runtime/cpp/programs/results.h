// What clap-classify prints: lines for people, a JSON object a file for machines.
#pragma once

#include <string>
#include <vector>

#include "clap/clap.hpp"

namespace clap::programs {

// What became of a file.
struct Outcome {
    std::string file;
    std::vector<Prediction> predictions;
    std::string warning;  // why only a part of it was used, or nothing
    std::string error;    // why it could not be used, or nothing
};

void print(const Outcome& outcome, bool json);

}  // namespace clap::programs
