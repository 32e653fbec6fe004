// Label banks: names to text embeddings, made once, saved, and used without a text encoder. A head
// is a bank of labels that were learned from examples.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../plain/matrix.h"
#include "head.h"

namespace clap::inner {

class Encoder;

struct LabelBank {
    std::vector<std::string> names;
    std::vector<std::string> templates;
    Matrix embeddings;  // [names, dim] of unit norm
    std::string space_id;
    std::shared_ptr<const Head> head;  // null: their cosines become scores as the bundle says

    // Reads a saved bank or head (`.npz`).
    static LabelBank load(const std::string& path);
    // Embeds names, each put through every template: their mean, scaled to unit norm.
    static LabelBank build(const Encoder& encoder, const std::vector<std::string>& names,
                           const std::vector<std::string>& templates);

    // Throws where the bank belongs to another bundle.
    void check_space(const std::string& wanted) const;
    void check_fits(const std::string& wanted_space, std::size_t dim) const;
    // Throws where the parts do not fit together.
    void check_parts() const;
};

// Names from a text file: UTF-8, one a line; blank lines and lines with `#` are skipped.
std::vector<std::string> read_labels(const std::string& path);
// A prompt with exactly one {} for the label.
void check_template(const std::string& prompt);

}  // namespace clap::inner
