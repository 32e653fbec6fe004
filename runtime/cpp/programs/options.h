// What is asked of clap-classify.
#pragma once

#include <string>
#include <vector>

#include "clap/clap.hpp"

namespace clap::programs {

struct Options {
    std::string model, labels;
    std::vector<std::string> files;
    clap::Options options;
    bool json = false, help = false;
};

extern const char* usage;

// Throws a sentence for what is not known or missing.
Options read_options(const std::vector<std::string>& words);
bool ends_in(const std::string& text, const std::string& end);
std::vector<std::string> between_commas(const std::string& labels);
std::vector<std::string> read_names(const std::string& path);

}  // namespace clap::programs
