// Texts to the text graph's inputs, by the rules of a `tokenizer.json`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../bundle/manifest.h"

namespace clap::inner {

// Inputs of a text graph: int64 [rows, length].
struct Tokens {
    std::size_t rows = 0, length = 0;
    std::vector<std::int64_t> ids, mask, types;
    const std::vector<std::int64_t>& of(const std::string& input) const;
};

struct Rules;  // what a file says

class Tokenizer {
  public:
    // `data`: the file; `name`: of it, in sentences. `whole`: do not cut texts.
    Tokenizer(const std::string& data, const std::string& name, const TextSpec& spec,
              bool whole = false);
    ~Tokenizer();

    // Texts as the graph takes them; those that are too long are cut.
    Tokens operator()(const std::vector<std::string>& texts) const;
    // What the text encoder reads of a text.
    std::vector<std::int64_t> ids(const std::string& text) const;
    std::int64_t largest_id() const { return largest_id_; }

  private:
    struct Encoded {
        std::vector<std::int64_t> ids, types;
    };
    Encoded encode(const std::string& text, const std::string& name) const;

    TextSpec spec_;
    bool whole_;
    std::int64_t largest_id_ = 0;
    std::unique_ptr<Rules> rules_;
};

}  // namespace clap::inner
