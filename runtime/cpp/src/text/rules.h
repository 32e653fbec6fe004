// What a `tokenizer.json` says, looked through before anything of it is run; see
// runtime/tokenizer_file.py for what is refused, and why.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "added.h"
#include "model.h"
#include "normalizer.h"
#include "splitter.h"

namespace clap::inner {

struct Rules {
    // Special tokens, or (-1) the text itself, each with its type.
    using Template = std::vector<std::pair<std::int64_t, std::int64_t>>;

    Normalizer normalizer;
    Splitter splitter;
    std::unique_ptr<Model> model;
    std::optional<AddedTokens> added;
    std::vector<Template> templates;  // one around the other
    std::int64_t largest_id = 0;

    static std::unique_ptr<Rules> read(const std::string& data, const std::string& name);
};

}  // namespace clap::inner
