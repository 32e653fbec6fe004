#include "tokenizer.h"

#include <algorithm>

#include "../error.h"
#include "../plain/shown.h"
#include "../plain/unicode.h"
#include "rules.h"

namespace clap::inner {

namespace {

constexpr std::size_t least_tokens =
    2;  // an exporter takes an axis of length 1 for one that is always 1
constexpr std::size_t most_letters = 20000;

}  // namespace

const std::vector<std::int64_t>& Tokens::of(const std::string& input) const {
    return input == "input_ids" ? ids : input == "attention_mask" ? mask : types;
}

Tokenizer::Tokenizer(const std::string& data, const std::string& name, const TextSpec& spec,
                     bool whole)
    : spec_(spec), whole_(whole), rules_(Rules::read(data, name)) {
    largest_id_ = std::max(rules_->largest_id, spec.pad_id);
}

Tokenizer::~Tokenizer() = default;

Tokenizer::Encoded Tokenizer::encode(const std::string& text, const std::string& name) const {
    Text letters;
    try {
        letters = unicode::decode(text);
    } catch (const unicode::Invalid&) {
        throw Error(Code::label, name + " is not UTF-8: pass words.");
    }
    if (letters.size() > most_letters)
        throw Error(Code::label, name + " has " + std::to_string(letters.size()) +
                                     " characters: at most " + std::to_string(most_letters) +
                                     " are read, and " + std::to_string(spec_.max_tokens) +
                                     " tokens of them are used.");
    letters += unicode::decode(spec_.suffix);
    Encoded found;
    try {
        for (const Segmented& part : rules_->added->cut(letters, rules_->normalizer)) {
            if (part.id >= 0) {
                found.ids.push_back(part.id);
                continue;
            }
            for (const Text& word : rules_->splitter(part.text))
                rules_->model->cut(word, found.ids);
        }
    } catch (const NoModel& problem) {
        throw Error(Code::bundle,
                    "the tokenizer cannot be run (" + problem.said + "). Export the bundle again.");
    }
    std::size_t around = 0;
    for (const Rules::Template& one : rules_->templates) around += one.size() - 1;
    const auto most = static_cast<std::size_t>(spec_.max_tokens);
    if (!whole_ && found.ids.size() + around > most)
        found.ids.resize(most > around ? most - around : 0);
    found.types.assign(found.ids.size(), 0);
    for (const Rules::Template& one : rules_->templates) {
        Encoded outer;
        for (const auto& [id, type] : one) {
            const std::size_t count = id < 0 ? found.ids.size() : 1;
            if (id < 0)
                outer.ids.insert(outer.ids.end(), found.ids.begin(), found.ids.end());
            else
                outer.ids.push_back(id);
            outer.types.insert(outer.types.end(), count, type);
        }
        found = std::move(outer);
    }
    return found;
}

std::vector<std::int64_t> Tokenizer::ids(const std::string& text) const {
    return encode(text, "a text").ids;
}

Tokens Tokenizer::operator()(const std::vector<std::string>& texts) const {
    std::vector<Encoded> encoded;
    Tokens found;
    found.rows = texts.size();
    found.length = least_tokens;
    for (std::size_t row = 0; row < texts.size(); ++row) {
        const std::string name = "text " + std::to_string(row);
        if (unicode::stripped(texts[row]).empty())
            throw Error(Code::label, name + " is " + quoted(texts[row]) + ": pass words.");
        encoded.push_back(encode(texts[row], name));
        if (encoded.back().ids.empty())
            throw Error(Code::label,
                        name + " (" + quoted(texts[row]) + ") has no token in this vocabulary.");
        found.length = std::max(found.length, encoded.back().ids.size());
    }
    const std::size_t size = found.rows * found.length;
    found.ids.assign(size, spec_.pad_id);
    found.mask.assign(size, 0);
    found.types.assign(size, 0);
    for (std::size_t row = 0; row < texts.size(); ++row) {
        const Encoded& one = encoded[row];
        const auto at = static_cast<std::ptrdiff_t>(row * found.length);
        std::copy(one.ids.begin(), one.ids.end(), found.ids.begin() + at);
        std::copy(one.types.begin(), one.types.end(), found.types.begin() + at);
        std::fill_n(found.mask.begin() + at, one.ids.size(), 1);
    }
    return found;
}

}  // namespace clap::inner
