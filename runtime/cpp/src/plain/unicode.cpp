#include "unicode.h"

#include <utf8proc.h>

#include <cstdio>

namespace clap::inner::unicode {

namespace {

utf8proc_category_t category(char32_t c) {
    return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

[[noreturn]] void refuse(unsigned char byte, std::size_t at, std::size_t end, const char* why) {
    char said[160];
    if (end > at + 1)
        std::snprintf(said, sizeof said, "'utf-8' codec can't decode bytes in position %zu-%zu: %s",
                      at, end - 1, why);
    else
        std::snprintf(said, sizeof said,
                      "'utf-8' codec can't decode byte 0x%02x in position %zu: %s", byte, at, why);
    throw Invalid{said};
}

}  // namespace

std::u32string decode(std::string_view text) {
    std::u32string found;
    found.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const auto first = static_cast<unsigned char>(text[at]);
        if (first < 0x80) {
            found.push_back(first);
            ++at;
            continue;
        }
        const int more = first >= 0xC2 && first < 0xE0   ? 1
                         : first >= 0xE0 && first < 0xF0 ? 2
                         : first >= 0xF0 && first < 0xF5 ? 3
                                                         : 0;
        if (!more) refuse(first, at, at + 1, "invalid start byte");
        char32_t value = first & (0x3F >> more);
        for (int i = 1; i <= more; ++i) {
            if (at + i >= text.size()) refuse(first, at, at + i, "unexpected end of data");
            const auto next = static_cast<unsigned char>(text[at + i]);
            // The second byte tells overlong forms, surrogates and what lies beyond Unicode.
            const unsigned low = i > 1 ? 0x80 : first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
            const unsigned high = i > 1 ? 0xBF : first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
            if (next < low || next > high) refuse(first, at, at + i, "invalid continuation byte");
            value = value << 6 | (next & 0x3F);
        }
        found.push_back(value);
        at += static_cast<std::size_t>(more) + 1;
    }
    return found;
}

void append(std::string& text, char32_t c) {
    if (c < 0x80) {
        text.push_back(static_cast<char>(c));
        return;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    const unsigned mark = more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0;
    text.push_back(static_cast<char>(mark | c >> (6 * more)));
    for (int i = more - 1; i >= 0; --i)
        text.push_back(static_cast<char>(0x80 | (c >> (6 * i) & 0x3F)));
}

std::string encode(const std::u32string& text) {
    std::string found;
    found.reserve(text.size());
    for (char32_t c : text) append(found, c);
    return found;
}

std::size_t length(std::string_view text) {
    std::size_t count = 0;
    for (char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
    return count;
}

bool is_letter(char32_t c) {
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t c) {
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool is_mark(char32_t c) {
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing(char32_t c) {
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool is_punctuation(char32_t c) {
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool is_other(char32_t c) {
    const auto k = category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

bool is_space(char32_t c) {
    if ((c >= 9 && c <= 13) || c == 0x85) return true;
    const auto k = category(c);
    return k >= UTF8PROC_CATEGORY_ZS && k <= UTF8PROC_CATEGORY_ZP;
}

bool is_word(char32_t c) {
    if (is_letter(c) || is_mark(c)) return true;
    const auto k = category(c);
    if (k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_PC)
        return true;
    // Joiners, and the symbols that Unicode calls alphabetic: letters in circles and squares.
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
           (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189);
}

bool is_blank(char32_t c) {
    return is_space(c) || (c >= 0x1C && c <= 0x1F);
}

bool is_ascii_punctuation(char32_t c) {
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
}

bool is_control(char32_t c) {
    if (c >= 0x20 && c < 0x7F) return false;
    if (c == 0x200C || c == 0x200D) return false;  // joiners that words and emoji are written with
    const auto k = category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS ||
           k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

bool is_printable(char32_t c) {
    if (c == ' ') return true;
    const auto k = category(c);
    return !(k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS ||
             k == UTF8PROC_CATEGORY_CO || k == UTF8PROC_CATEGORY_CN || k == UTF8PROC_CATEGORY_ZL ||
             k == UTF8PROC_CATEGORY_ZP || k == UTF8PROC_CATEGORY_ZS);
}

std::u32string normalized(const std::u32string& text, Form form) {
    int options = UTF8PROC_STABLE;
    options |= form == Form::nfc || form == Form::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (form == Form::nfkc || form == Form::nfkd) options |= UTF8PROC_COMPAT;
    std::u32string found(text.size() * 4 + 16, U'\0');
    const std::string bytes = encode(text);
    for (;;) {
        const auto count = utf8proc_decompose(
            reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()),
            static_cast<utf8proc_ssize_t>(bytes.size()),
            reinterpret_cast<utf8proc_int32_t*>(found.data()),
            static_cast<utf8proc_ssize_t>(found.size()), static_cast<utf8proc_option_t>(options));
        if (count < 0) return text;
        if (static_cast<std::size_t>(count) <= found.size()) {
            const auto whole =
                utf8proc_normalize_utf32(reinterpret_cast<utf8proc_int32_t*>(found.data()), count,
                                         static_cast<utf8proc_option_t>(options));
            found.resize(static_cast<std::size_t>(whole < 0 ? 0 : whole));
            return found;
        }
        found.resize(static_cast<std::size_t>(count));
    }
}

std::u32string lower(const std::u32string& text) {
    std::u32string found;
    found.reserve(text.size());
    for (char32_t c : text) {
        if (c == 0x130) {  // the one character whose small form has two
            found += U"i\u0307";
            continue;
        }
        found.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
    return found;
}

std::string_view stripped(std::string_view text) {
    const std::u32string letters = decode(text);
    std::size_t begin = 0, end = letters.size();
    while (begin < end && is_blank(letters[begin])) ++begin;
    while (end > begin && is_blank(letters[end - 1])) --end;
    const std::size_t first = encode(letters.substr(0, begin)).size();
    return text.substr(first, encode(letters.substr(begin, end - begin)).size());
}

}  // namespace clap::inner::unicode
