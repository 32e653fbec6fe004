// Tokens that are found in a text as they are, before a model sees the rest of it.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "model.h"
#include "normalizer.h"

namespace clap::inner {

// A stretch of a text: a token, or what is between tokens.
struct Segmented {
    Text text;
    std::int64_t id = -1;  // of a token
};

class AddedTokens {
  public:
    // `list`: the tokens of a file that was checked.
    AddedTokens(const Value& list, const Model& model, const Normalizer& normalizer);
    // The text, normalized, with the tokens cut out.
    std::vector<Segmented> cut(const Text& text, const Normalizer& normalizer) const;

  private:
    struct Token {
        Text content;
        std::int64_t id;
        bool single_word, strips_left, strips_right;
    };
    using Tokens = std::unordered_map<char32_t, std::vector<Token>>;  // by their first character,
                                                                      // longest first

    static void find(const Tokens& tokens, const Text& text, std::vector<Segmented>& found);
    Tokens plain_, normalized_;
};

}  // namespace clap::inner
