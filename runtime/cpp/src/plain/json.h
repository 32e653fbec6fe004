// JSON that anybody may have written, read as strictly as the Python runtime does.
//
// Not by a library: NaN is let through as Python does, whole numbers of 20 digits stay whole, keys
// keep their order and may not be there twice, brackets nest 100 deep at most, and the sentences
// are those of Python.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../error.h"

namespace clap::inner {

__extension__ typedef __int128 Whole;  // 20 digits are more than 64 bits

class Value {
  public:
    enum class Kind { null, boolean, whole, real, text, list, table };
    using Entry = std::pair<std::string, Value>;

    Value() = default;
    Value(bool value) : kind(Kind::boolean), flag(value) {}
    Value(Whole value) : kind(Kind::whole), number(value) {}
    Value(std::int64_t value) : kind(Kind::whole), number(value) {}
    Value(int value) : kind(Kind::whole), number(value) {}
    Value(double value) : kind(Kind::real), real(value) {}
    Value(std::string value) : kind(Kind::text), text(std::move(value)) {}
    Value(const char* value) : kind(Kind::text), text(value) {}
    static Value array(std::vector<Value> items = {});
    static Value object(std::vector<Entry> entries = {});

    bool is(Kind wanted) const { return kind == wanted; }
    const Value* find(std::string_view name) const;  // in a table; null where it is not
    void set(std::string name, Value value);

    Kind kind = Kind::null;
    bool flag = false;
    Whole number = 0;
    double real = 0.0;
    std::string text;
    std::vector<Value> items;
    std::vector<Entry> entries;
};

// A document, or an error "WHERE cannot be read as JSON (WHY)." of this code.
Value read_json(std::string_view data, const std::string& where, Code code);

// What is wrong with a document, without a place.
struct NotJson {
    std::string said;
};
Value parse_json(std::string_view data);

std::string write_json(const Value& value);

}  // namespace clap::inner
