// Label banks: names to text embeddings, made once, saved, and used without a text encoder.
#pragma once

#include <string>
#include <vector>

#include "../plain/matrix.h"

namespace clap::inner {

class Encoder;

struct LabelBank {
    std::vector<std::string> names;
    std::vector<std::string> templates;
    Matrix embeddings;  // [names, dim] of unit norm
    std::string space_id;

    // Reads a saved bank (`.npz`).
    static LabelBank load(const std::string& path);
    // Embeds names, each put through every template: their mean, scaled to unit norm.
    static LabelBank build(const Encoder& encoder, const std::vector<std::string>& names,
                           const std::vector<std::string>& templates);

    // Throws where the bank belongs to another bundle.
    void check_space(const std::string& wanted) const;
    void check_fits(const std::string& wanted_space, std::size_t dim) const;
    // What is wrong with the parts together.
    std::vector<std::string> problems() const;
};

// Names from a text file: UTF-8, one a line; blank lines and lines with `#` are skipped.
std::vector<std::string> read_labels(const std::string& path);
std::vector<std::string> name_problems(const std::vector<std::string>& names);
// A prompt with exactly one {} for the label.
void check_template(const std::string& prompt);

}  // namespace clap::inner
