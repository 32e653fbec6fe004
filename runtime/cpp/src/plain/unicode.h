// UTF-8 and what Unicode says of characters; the tables are utf8proc's.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace clap::inner::unicode {

// Decodes UTF-8 strictly: no surrogates, no overlong forms. Throws Invalid.
std::u32string decode(std::string_view text);
std::string encode(const std::u32string& text);
void append(std::string& text, char32_t character);
std::size_t length(std::string_view text);  // in characters, of valid UTF-8

// Why bytes are no UTF-8, as Python says it.
struct Invalid {
    std::string said;
};

bool is_letter(char32_t c);       // L*
bool is_number(char32_t c);       // N*
bool is_mark(char32_t c);         // M*
bool is_nonspacing(char32_t c);   // Mn
bool is_punctuation(char32_t c);  // P*
bool is_other(char32_t c);        // Cc, Cf, Co
bool is_space(char32_t c);        // White_Space
bool is_word(char32_t c);         // \w of UTS 18
bool is_blank(char32_t c);        // what Python's str.strip() takes away
bool is_ascii_punctuation(char32_t c);
// Whether a terminal may act on a character, or cannot show it.
bool is_control(char32_t c);
bool is_printable(char32_t c);  // as Python's str.isprintable

enum class Form { nfc, nfd, nfkc, nfkd };
std::u32string normalized(const std::u32string& text, Form form);
std::u32string lower(const std::u32string& text);

std::string_view stripped(std::string_view text);  // as Python's str.strip()

}  // namespace clap::inner::unicode
