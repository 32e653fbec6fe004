#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "shown.h"
#include "unicode.h"

namespace clap::inner {

namespace {

constexpr int most_depth = 100;
constexpr std::size_t most_digits = 20;

class Parser {
  public:
    explicit Parser(std::string_view data) : data_(data) {}

    Value document() {
        space();
        Value found = value();
        space();
        if (at_ < data_.size()) fail("Extra data", at_);
        return found;
    }

  private:
    [[noreturn]] void fail(const std::string& what, std::size_t at) const {
        const auto before = data_.substr(0, at);
        const auto line = std::count(before.begin(), before.end(), '\n') + 1;
        const auto start = before.rfind('\n');
        const auto letters =
            unicode::length(start == before.npos ? before : before.substr(start + 1)) + 1;
        throw NotJson{what + ": line " + std::to_string(line) + " column " +
                      std::to_string(letters) + " (char " +
                      std::to_string(unicode::length(before)) + ")"};
    }

    char peek() const { return at_ < data_.size() ? data_[at_] : '\0'; }

    void space() {
        while (at_ < data_.size() &&
               (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r'))
            ++at_;
    }

    bool take(std::string_view word) {
        if (data_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    Value value() {
        const char c = peek();
        if (at_ < data_.size()) {
            if (c == '"') return Value(string());
            if (c == '{') return table();
            if (c == '[') return list();
            if (take("null")) return Value();
            if (take("true")) return Value(true);
            if (take("false")) return Value(false);
            if (take("NaN")) return Value(std::numeric_limits<double>::quiet_NaN());
            if (take("Infinity")) return Value(std::numeric_limits<double>::infinity());
            if (take("-Infinity")) return Value(-std::numeric_limits<double>::infinity());
            if (c == '-' || (c >= '0' && c <= '9')) return number();
        }
        fail("Expecting value", at_);
    }

    std::size_t digits(std::size_t at) const {
        while (at < data_.size() && data_[at] >= '0' && data_[at] <= '9') ++at;
        return at;
    }

    Value number() {
        const std::size_t begin = at_, first = begin + (data_[begin] == '-');
        std::size_t end = digits(first);
        if (end > first && data_[first] == '0') end = first + 1;
        if (end == first) fail("Expecting value", begin);
        bool whole = true;
        if (end < data_.size() && data_[end] == '.' && digits(end + 1) > end + 1) {
            end = digits(end + 1);
            whole = false;
        }
        if (end < data_.size() && (data_[end] == 'e' || data_[end] == 'E')) {
            const std::size_t sign =
                end + 1 < data_.size() && (data_[end + 1] == '+' || data_[end + 1] == '-');
            const std::size_t last = digits(end + 1 + sign);
            if (last > end + 1 + sign) {
                end = last;
                whole = false;
            }
        }
        at_ = end;
        const auto text = data_.substr(begin, end - begin);
        if (whole) {
            if (text.size() > most_digits)
                throw NotJson{"a number has " + std::to_string(text.size()) + " digits"};
            Whole found = 0;
            for (char c : data_.substr(first, end - first)) found = found * 10 + (c - '0');
            return Value(first > begin ? -found : found);
        }
        return Value(to_real(text));
    }

    static double to_real(std::string_view text) {
        double found = 0.0;
        const auto result = std::from_chars(text.data(), text.data() + text.size(), found);
        if (result.ec != std::errc::result_out_of_range) return found;
        // Too large or too small for a double: Python has infinity or zero.
        const auto mark = text.find_first_of("eE");
        const bool small = mark != text.npos ? text[mark + 1] == '-' : text.find('.') <= 2;
        const double size = small ? 0.0 : std::numeric_limits<double>::infinity();
        return text[0] == '-' ? -size : size;
    }

    unsigned quad(std::size_t at) const {
        unsigned found = 0;
        for (std::size_t i = at; i < at + 4; ++i) {
            const char c = i < data_.size() ? data_[i] : '\0';
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) fail("Invalid \\uXXXX escape", at - 1);
            found = found << 4 | static_cast<unsigned>(digit);
        }
        return found;
    }

    std::string string() {
        const std::size_t begin = at_++;
        std::string found;
        for (;;) {
            if (at_ >= data_.size()) fail("Unterminated string starting at", begin);
            const char c = data_[at_];
            if (c == '"') {
                ++at_;
                return found;
            }
            if (static_cast<unsigned char>(c) < 0x20) fail("Invalid control character at", at_);
            if (c != '\\') {
                found.push_back(c);
                ++at_;
                continue;
            }
            if (at_ + 1 >= data_.size()) fail("Unterminated string starting at", begin);
            escape(found);
        }
    }

    void escape(std::string& found) {
        const char c = data_[at_ + 1];
        const std::string_view codes = "\"\\/bfnrt", letters = "\"\\/\b\f\n\r\t";
        if (const auto place = codes.find(c); place != codes.npos) {
            found.push_back(letters[place]);
            at_ += 2;
            return;
        }
        if (c != 'u') fail("Invalid \\escape", at_);
        char32_t letter = quad(at_ + 2);
        std::size_t end = at_ + 6;
        if (letter >= 0xD800 && letter < 0xDC00 && data_.substr(end, 2) == "\\u") {
            const unsigned low = quad(end + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                letter = 0x10000 + ((letter - 0xD800) << 10) + (low - 0xDC00);
                end += 6;
            }
        }
        if (letter >= 0xD800 && letter < 0xE000) {
            char said[120];
            std::snprintf(said, sizeof said,
                          "'utf-8' codec can't encode character '\\u%04x' in position %zu: "
                          "surrogates not allowed",
                          static_cast<unsigned>(letter), unicode::length(data_.substr(0, at_)));
            throw NotJson{said};
        }
        unicode::append(found, letter);
        at_ = end;
    }

    void deeper() {
        if (++depth_ > most_depth)
            throw NotJson{"brackets are nested more than " + std::to_string(most_depth) + " deep"};
    }

    Value list() {
        deeper();
        ++at_;
        Value found = Value::array();
        space();
        if (peek() == ']') {
            ++at_;
            --depth_;
            return found;
        }
        for (;;) {
            space();
            found.items.push_back(value());
            space();
            if (peek() == ']') break;
            if (peek() != ',') fail("Expecting ',' delimiter", at_);
            ++at_;
        }
        ++at_;
        --depth_;
        return found;
    }

    Value table() {
        deeper();
        ++at_;
        Value found = Value::object();
        space();
        if (peek() == '}') {
            ++at_;
            --depth_;
            return found;
        }
        for (;;) {
            space();
            if (peek() != '"') fail("Expecting property name enclosed in double quotes", at_);
            std::string name = string();
            space();
            if (peek() != ':') fail("Expecting ':' delimiter", at_);
            ++at_;
            space();
            found.entries.emplace_back(std::move(name), value());
            space();
            if (peek() == '}') break;
            if (peek() != ',') fail("Expecting ',' delimiter", at_);
            ++at_;
        }
        ++at_;
        --depth_;
        refuse_twins(found);
        return found;
    }

    static void refuse_twins(const Value& table) {
        std::unordered_set<std::string_view> seen;
        for (const auto& [name, value] : table.entries)
            if (!seen.insert(name).second)
                throw NotJson{"the key " + shown(Value(name)) + " is there twice"};
    }

    std::string_view data_;
    std::size_t at_ = 0;
    int depth_ = 0;
};

void write(std::string& out, const Value& value);

void write_text(std::string& out, const std::string& text) {
    out.push_back('"');
    for (char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (byte < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", byte);
            out += code;
        } else {
            out.push_back(c);
        }
    }
    out.push_back('"');
}

void write(std::string& out, const Value& value) {
    switch (value.kind) {
        case Value::Kind::null: out += "null"; return;
        case Value::Kind::boolean: out += value.flag ? "true" : "false"; return;
        case Value::Kind::whole: out += to_text(value.number); return;
        case Value::Kind::real:
            if (std::isnan(value.real))
                out += "NaN";
            else if (std::isinf(value.real))
                out += value.real < 0 ? "-Infinity" : "Infinity";
            else
                out += to_text(value.real);
            return;
        case Value::Kind::text: write_text(out, value.text); return;
        case Value::Kind::list:
            out.push_back('[');
            for (std::size_t i = 0; i < value.items.size(); ++i) {
                if (i) out += ", ";
                write(out, value.items[i]);
            }
            out.push_back(']');
            return;
        case Value::Kind::table:
            out.push_back('{');
            for (std::size_t i = 0; i < value.entries.size(); ++i) {
                if (i) out += ", ";
                write_text(out, value.entries[i].first);
                out += ": ";
                write(out, value.entries[i].second);
            }
            out.push_back('}');
            return;
    }
}

}  // namespace

Value Value::array(std::vector<Value> items) {
    Value found;
    found.kind = Kind::list;
    found.items = std::move(items);
    return found;
}

Value Value::object(std::vector<Entry> entries) {
    Value found;
    found.kind = Kind::table;
    found.entries = std::move(entries);
    return found;
}

const Value* Value::find(std::string_view name) const {
    for (const auto& [key, value] : entries)
        if (key == name) return &value;
    return nullptr;
}

void Value::set(std::string name, Value value) {
    entries.emplace_back(std::move(name), std::move(value));
}

Value parse_json(std::string_view data) {
    try {
        if (data.substr(0, 3) == "\xEF\xBB\xBF") data.remove_prefix(3);
        unicode::decode(data);
    } catch (const unicode::Invalid& problem) {
        throw NotJson{problem.said};
    }
    return Parser(data).document();
}

Value read_json(std::string_view data, const std::string& where, Code code) {
    try {
        return parse_json(data);
    } catch (const NotJson& problem) {
        throw Error(code, where + " cannot be read as JSON (" + problem.said + ").");
    }
}

std::string write_json(const Value& value) {
    std::string out;
    write(out, value);
    return out;
}

}  // namespace clap::inner
