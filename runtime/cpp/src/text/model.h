// From a word to tokens: WordPiece, WordLevel or byte-pair merges.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "../plain/json.h"

namespace clap::inner {

using Vocabulary = std::unordered_map<std::string, std::int64_t>;

// Why a word cannot be cut, or a model not be used.
struct NoModel {
    std::string said;
};

class Model {
  public:
    virtual ~Model() = default;
    virtual void cut(const std::u32string& word, std::vector<std::int64_t>& ids) const = 0;

    std::optional<std::int64_t> id_of(const std::string& token) const;
    const Vocabulary& vocabulary() const { return vocabulary_; }

    static std::unique_ptr<Model> of(const Value& model);  // of a file that was checked

  protected:
    explicit Model(const Value& model);
    Vocabulary vocabulary_;
    std::string unknown_;  // the token for what is not in the vocabulary
    bool has_unknown_ = false;
};

}  // namespace clap::inner
