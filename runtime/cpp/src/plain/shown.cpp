#include "shown.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "unicode.h"

namespace clap::inner {

namespace {

constexpr std::size_t most_shown = 60;

void escape(std::string& out, char32_t c) {
    char code[16];
    const auto value = static_cast<unsigned>(c);
    if (c == '\t')
        out += "\\t";
    else if (c == '\n')
        out += "\\n";
    else if (c == '\r')
        out += "\\r";
    else {
        std::snprintf(code, sizeof code,
                      c < 0x100     ? "\\x%02x"
                      : c < 0x10000 ? "\\u%04x"
                                    : "\\U%08x",
                      value);
        out += code;
    }
}

std::string cut(const std::string& text, std::size_t most) {
    const auto letters = unicode::decode(text);
    return letters.size() <= most ? text : unicode::encode(letters.substr(0, most));
}

}  // namespace

std::string to_text(Whole number) {
    if (number == 0) return "0";
    const bool negative = number < 0;
    std::string found;
    for (Whole rest = negative ? -number : number; rest > 0; rest /= 10)
        found.push_back(static_cast<char>('0' + static_cast<int>(rest % 10)));
    if (negative) found.push_back('-');
    std::reverse(found.begin(), found.end());
    return found;
}

std::string to_text(double number) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
    char buffer[40];
    // The shortest digits that give the same number again, and Python's choice between both forms.
    auto end =
        std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
    const std::string science(buffer, end);
    const int exponent = std::atoi(science.c_str() + science.find('e') + 1);
    if (exponent >= 16 || exponent < -4) return science;
    end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::fixed).ptr;
    std::string found(buffer, end);
    if (found.find('.') == found.npos) found += ".0";
    return found;
}

std::string general(double number, int digits) {
    char buffer[64];
    std::snprintf(buffer, sizeof buffer, "%.*g", digits, number);
    return buffer;
}

std::string fixed(double number, int digits) {
    char buffer[400];
    std::snprintf(buffer, sizeof buffer, "%.*f", digits, number);
    return buffer;
}

std::string quoted(std::string_view text) {
    const bool single = text.find('\'') != text.npos && text.find('"') == text.npos;
    const char mark = single ? '"' : '\'';
    std::string out(1, mark);
    for (char32_t c : unicode::decode(text)) {
        if (c == static_cast<char32_t>(mark) || c == '\\') {
            out.push_back('\\');
            out.push_back(static_cast<char>(c));
        } else if (!unicode::is_printable(c)) {
            escape(out, c);
        } else {
            unicode::append(out, c);
        }
    }
    out.push_back(mark);
    return out;
}

std::string printable(std::string_view text) {
    std::string out;
    try {
        for (char32_t c : unicode::decode(text)) {
            if (unicode::is_control(c))
                escape(out, c);
            else
                unicode::append(out, c);
        }
        return out;
    } catch (const unicode::Invalid&) {  // a file's name need not be UTF-8: as Python's surrogates
        out.clear();
        for (char c : text) {
            const auto byte = static_cast<unsigned char>(c);
            char code[8];
            std::snprintf(code, sizeof code, "\\udc%02x", byte);
            if (byte >= 0x80)
                out += code;
            else if (byte < 0x20 || byte == 0x7F)
                escape(out, byte);
            else
                out.push_back(c);
        }
        return out;
    }
}

std::string represented(const Value& value) {
    switch (value.kind) {
        case Value::Kind::null: return "None";
        case Value::Kind::boolean: return value.flag ? "True" : "False";
        case Value::Kind::whole: return to_text(value.number);
        case Value::Kind::real: return to_text(value.real);
        case Value::Kind::text: return quoted(value.text);
        case Value::Kind::list: {
            std::string out = "[";
            for (std::size_t i = 0; i < value.items.size() && out.size() < 1000; ++i)
                out += (i ? ", " : "") + represented(value.items[i]);
            return out + "]";
        }
        case Value::Kind::table: {
            std::string out = "{";
            for (std::size_t i = 0; i < value.entries.size() && out.size() < 1000; ++i)
                out += (i ? ", " : "") + quoted(value.entries[i].first) + ": " +
                       represented(value.entries[i].second);
            return out + "}";
        }
    }
    return "";
}

std::string shown(const Value& value) {
    const std::string text = printable(cut(represented(value), 2 * most_shown));
    return unicode::length(text) <= most_shown ? text : cut(text, most_shown) + "…";
}

std::string shortly(std::string_view text) {
    constexpr std::size_t most = 30, before = (most - 3) / 2, behind = most - 3 - before;
    const auto letters = unicode::decode(text);
    const std::string whole = quoted(unicode::encode(letters.substr(0, most)));
    if (unicode::length(whole) <= most && letters.size() <= most) return whole;
    const std::u32string back =
        letters.size() > most ? letters.substr(letters.size() - behind) : letters;
    const auto shown = unicode::decode(quoted(unicode::encode(letters.substr(0, before) + back)));
    return unicode::encode(shown.substr(0, before)) + "..." +
           unicode::encode(shown.substr(shown.size() - behind));
}

std::string tuple(const std::vector<std::int64_t>& numbers) {
    std::vector<std::string> found;
    for (std::int64_t number : numbers) found.push_back(std::to_string(number));
    return "(" + joined(found, ", ") + (numbers.size() == 1 ? ",)" : ")");
}

std::string tuple(const std::vector<std::string>& texts) {
    std::vector<std::string> found;
    for (const std::string& text : texts) found.push_back(quoted(text));
    return "(" + joined(found, ", ") + (texts.size() == 1 ? ",)" : ")");
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
    std::string out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i) out += between;
        out += parts[i];
    }
    return out;
}

std::string listed(const std::vector<std::string>& problems, std::size_t most,
                   std::string_view between) {
    if (problems.size() <= most) return joined(problems, between);
    const std::vector<std::string> first(problems.begin(),
                                         problems.begin() + static_cast<std::ptrdiff_t>(most));
    return joined(first, between) + " and " + std::to_string(problems.size() - most) + " more";
}

const char* type_name(const Value& value) {
    switch (value.kind) {
        case Value::Kind::null: return "NoneType";
        case Value::Kind::boolean: return "bool";
        case Value::Kind::whole: return "int";
        case Value::Kind::real: return "float";
        case Value::Kind::text: return "str";
        case Value::Kind::list: return "list";
        case Value::Kind::table: return "dict";
    }
    return "";
}

}  // namespace clap::inner
