#include "normalizer.h"

#include "../plain/unicode.h"
#include "parts.h"

namespace clap::inner {

namespace {

using namespace unicode;

bool is_chinese(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

Text without(const Text& text, bool (*is)(char32_t)) {
    Text found;
    for (char32_t c : text)
        if (!is(c)) found.push_back(c);
    return found;
}

Text cleaned(const Text& text) {
    Text found;
    for (char32_t c : text) {
        if (c == U'\t' || c == U'\n' || c == U'\r')
            found.push_back(U' ');
        else if (c && c != 0xFFFD && !is_other(c))
            found.push_back(is_space(c) ? U' ' : c);
    }
    return found;
}

Text spaced(const Text& text) {
    Text found;
    for (char32_t c : text) {
        if (is_chinese(c))
            found += {U' ', c, U' '};
        else
            found.push_back(c);
    }
    return found;
}

Text replaced(const Text& text, const Pattern& pattern, const Text& by) {
    Text found;
    for (const Stretch& stretch : pattern.stretches(text))
        found += stretch.found ? by : text.substr(stretch.begin, stretch.end - stretch.begin);
    return found;
}

Text stripped(const Text& text, bool left, bool right) {
    std::size_t begin = 0, end = text.size();
    while (left && begin < end && is_space(text[begin])) ++begin;
    while (right && end > begin && is_space(text[end - 1])) --end;
    return text.substr(begin, end - begin);
}

}  // namespace

void Normalizer::add(const Value& step) {
    const std::string& kind = step.find("type")->text;
    if (kind == "BertNormalizer") {
        const bool clean = flag_of(step, "clean_text", true),
                   chinese = flag_of(step, "handle_chinese_chars", true);
        const bool lowered = flag_of(step, "lowercase", true),
                   accents = flag_of(step, "strip_accents", lowered);
        steps_.push_back([=](const Text& given) {
            Text text = clean ? cleaned(given) : given;
            if (chinese) text = spaced(text);
            if (accents) text = without(normalized(text, Form::nfd), is_nonspacing);
            return lowered ? lower(text) : text;
        });
    } else if (kind == "Lowercase") {
        steps_.push_back(lower);
    } else if (kind == "StripAccents") {
        steps_.push_back([](const Text& text) { return without(text, is_mark); });
    } else if (kind == "Strip") {
        const bool left = flag_of(step, "strip_left", true),
                   right = flag_of(step, "strip_right", true);
        steps_.push_back([=](const Text& text) { return stripped(text, left, right); });
    } else if (kind == "Replace") {
        const Pattern pattern = pattern_of(*step.find("pattern"));
        const Text by = decode(step.find("content")->text);
        steps_.push_back([=](const Text& text) { return replaced(text, pattern, by); });
    } else if (kind == "Prepend") {
        const Text before = decode(step.find("prepend")->text);
        steps_.push_back([=](const Text& text) { return text.empty() ? text : before + text; });
    } else {
        const Form form = kind == "NFC"    ? Form::nfc
                          : kind == "NFD"  ? Form::nfd
                          : kind == "NFKC" ? Form::nfkc
                                           : Form::nfkd;
        steps_.push_back([=](const Text& text) { return normalized(text, form); });
    }
}

Text Normalizer::operator()(Text text) const {
    for (const auto& step : steps_) text = step(text);
    return text;
}

}  // namespace clap::inner
