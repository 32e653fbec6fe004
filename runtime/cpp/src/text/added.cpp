#include "added.h"

#include <algorithm>

#include "../plain/unicode.h"
#include "parts.h"

namespace clap::inner {

AddedTokens::AddedTokens(const Value& list, const Model& model, const Normalizer& normalizer) {
    std::unordered_map<std::string, std::int64_t> given;
    const auto size = static_cast<std::int64_t>(model.vocabulary().size());
    std::int64_t largest = -1;
    for (const Value& token : list.items) {
        const std::string& name = token.find("content")->text;
        if (given.count(name)) continue;
        // The model's own number of a token counts, else the next that is free; not the file's.
        const auto own = model.id_of(name);
        const std::int64_t id = own                                          ? *own
                                : largest >= size || (largest >= 0 && !size) ? largest + 1
                                                                             : size;
        given[name] = id;
        largest = std::max(largest, id);
        const bool after = flag_of(token, "normalized", !flag_of(token, "special", false));
        const Text content = after ? normalizer(unicode::decode(name)) : unicode::decode(name);
        if (content.empty()) continue;
        (after ? normalized_ : plain_)[content[0]].push_back(
            {content, id, flag_of(token, "single_word", false), flag_of(token, "lstrip", false),
             flag_of(token, "rstrip", false)});
    }
    for (Tokens* tokens : {&plain_, &normalized_})
        for (auto& [first, same] : *tokens)
            std::stable_sort(same.begin(), same.end(), [](const Token& a, const Token& b) {
                return a.content.size() > b.content.size();
            });
}

void AddedTokens::find(const Tokens& tokens, const Text& text, std::vector<Segmented>& found) {
    std::size_t left = 0;  // of what is not given out yet
    for (std::size_t at = 0; at < text.size();) {
        const auto same = tokens.find(text[at]);
        const Token* token = nullptr;
        if (same != tokens.end())
            for (const Token& one : same->second)
                if (text.compare(at, one.content.size(), one.content) == 0) {
                    token = &one;
                    break;
                }
        if (!token) {
            ++at;
            continue;
        }
        std::size_t begin = at, end = at + token->content.size();
        at = end;
        if (token->single_word && ((begin && unicode::is_word(text[begin - 1])) ||
                                   (end < text.size() && unicode::is_word(text[end]))))
            continue;
        if (begin < left) continue;
        while (token->strips_left && begin > left && unicode::is_space(text[begin - 1])) --begin;
        while (token->strips_right && end < text.size() && unicode::is_space(text[end])) ++end;
        if (left < begin) found.push_back({text.substr(left, begin - left)});
        found.push_back({text.substr(begin, end - begin), token->id});
        left = end;
        at = std::max(at, end);
    }
    if (left < text.size()) found.push_back({text.substr(left)});
}

std::vector<Segmented> AddedTokens::cut(const Text& text, const Normalizer& normalizer) const {
    std::vector<Segmented> first, found;
    find(plain_, text, first);
    for (Segmented& part : first) {
        if (part.id >= 0)
            found.push_back(std::move(part));
        else
            find(normalized_, normalizer(part.text), found);
    }
    return found;
}

}  // namespace clap::inner
