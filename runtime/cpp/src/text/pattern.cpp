#include "pattern.h"

#include <algorithm>
#include <map>

#include "../plain/unicode.h"

namespace clap::inner {

namespace {

using namespace unicode;

bool is_other_than_words(char32_t c) {
    return !is_space(c) && !is_letter(c) && !is_number(c);
}

std::size_t run(const Text& text, std::size_t at, bool (*is)(char32_t),
                std::size_t most = Text::npos) {
    std::size_t count = 0;
    while (at < text.size() && count < most && is(text[at])) {
        ++at;
        ++count;
    }
    return at;
}

// 's|'t|'re|'ve|'m|'ll|'d
std::size_t contraction(const Text& text, std::size_t at, bool any_case) {
    if (text[at] != U'\'') return at;
    for (const char32_t* ending : {U"s", U"t", U"re", U"ve", U"m", U"ll", U"d"}) {
        const Text wanted = ending;
        bool same = at + 1 + wanted.size() <= text.size();
        for (std::size_t i = 0; same && i < wanted.size(); ++i) {
            char32_t c = text[at + 1 + i];
            if (any_case && c == 0x17F) c = U's';  // the long s is an s of another case
            if (any_case && c < 0x80 && c >= U'A' && c <= U'Z') c += 32;
            same = c == wanted[i];
        }
        if (same) return at + 1 + wanted.size();
    }
    return at;
}

// \s+(?!\S)|\s+: spaces but the one before a word, or all of them.
std::size_t spaces(const Text& text, std::size_t at) {
    const std::size_t end = run(text, at, is_space);
    return end < text.size() && end > at + 1 ? end - 1 : end;
}

std::size_t match_spaces(const Text& text, std::size_t at) {
    return run(text, at, is_space);
}

std::size_t match_clip(const Text& text, std::size_t at) {
    if (const auto end = contraction(text, at, false); end > at) return end;
    if (const auto end = run(text, at, is_letter); end > at) return end;
    if (is_number(text[at])) return at + 1;
    return run(text, at, is_other_than_words);
}

std::size_t match_gpt2(const Text& text, std::size_t at) {
    if (const auto end = contraction(text, at, false); end > at) return end;
    const std::size_t first = at + (text[at] == U' ' ? 1 : 0);
    for (auto is : {is_letter, is_number, is_other_than_words})
        if (const auto end = run(text, first, is); end > first) return end;
    return spaces(text, at);
}

std::size_t match_llama3(const Text& text, std::size_t at) {
    if (const auto end = contraction(text, at, true); end > at) return end;
    const auto is_line_end = [](char32_t c) { return c == U'\r' || c == U'\n'; };
    const bool before = !is_line_end(text[at]) && !is_letter(text[at]) && !is_number(text[at]);
    const std::size_t letters = at + (before ? 1 : 0);
    if (const auto end = run(text, letters, is_letter); end > letters) return end;
    if (const auto end = run(text, at, is_number, 3); end > at) return end;
    const std::size_t first = at + (text[at] == U' ' ? 1 : 0);
    if (auto end = run(text, first, is_other_than_words); end > first)
        return run(text, end, is_line_end);
    const std::size_t end = run(text, at, is_space);
    for (std::size_t last = end; last > at; --last)
        if (is_line_end(text[last - 1])) return last;
    return spaces(text, at);
}

std::size_t match_words(const Text& text, std::size_t at) {
    if (const auto end = run(text, at, is_word); end > at) return end;
    return run(text, at, [](char32_t c) { return !is_word(c) && !is_space(c); });
}

}  // namespace

const Pattern* Pattern::expression(const std::string& text) {
    static const std::map<std::string, Pattern> known{
        {R"(\s+)", Pattern(match_spaces)},
        {R"('s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)", Pattern(match_clip)},
        {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
         Pattern(match_gpt2)},
        {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
         Pattern(match_llama3)},
    };
    const auto found = known.find(text);
    return found == known.end() ? nullptr : &found->second;
}

const Pattern& Pattern::gpt2() {
    static const Pattern found(match_gpt2);
    return found;
}

Pattern Pattern::words() {
    return Pattern(match_words);
}

Pattern Pattern::literal(Text wanted) {
    return Pattern([wanted = std::move(wanted)](const Text& text, std::size_t at) {
        return !wanted.empty() && text.compare(at, wanted.size(), wanted) == 0 ? at + wanted.size()
                                                                               : at;
    });
}

Pattern Pattern::character(std::function<bool(char32_t)> is) {
    return Pattern([is = std::move(is)](const Text& text, std::size_t at) {
        return at + (is(text[at]) ? 1 : 0);
    });
}

std::vector<Stretch> Pattern::stretches(const Text& text) const {
    std::vector<Stretch> found;
    std::size_t left = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = match_(text, at);
        if (end == at) {
            ++at;
            continue;
        }
        if (left < at) found.push_back({left, at, false});
        found.push_back({at, end, true});
        left = at = end;
    }
    if (left < text.size()) found.push_back({left, text.size(), false});
    return found;
}

std::vector<Text> split(const Text& text, const Pattern& pattern, Keep keep, bool invert) {
    std::vector<Stretch> stretches = pattern.stretches(text), kept;
    if (keep == Keep::with_next) std::reverse(stretches.begin(), stretches.end());
    bool before = false;  // whether the stretch before was found
    for (Stretch stretch : stretches) {
        const bool found = stretch.found != invert;
        const bool joins = keep == Keep::contiguous ? found == before
                           : keep == Keep::with_previous || keep == Keep::with_next
                               ? found && !before
                               : false;
        before = found;
        if (keep == Keep::removed && found) continue;
        if (joins && !kept.empty()) {
            if (keep == Keep::with_next)
                kept.back().begin = stretch.begin;
            else
                kept.back().end = stretch.end;
        } else {
            kept.push_back(stretch);
        }
    }
    if (keep == Keep::with_next) std::reverse(kept.begin(), kept.end());
    std::vector<Text> pieces;
    for (const Stretch& stretch : kept)
        pieces.push_back(text.substr(stretch.begin, stretch.end - stretch.begin));
    return pieces;
}

}  // namespace clap::inner
