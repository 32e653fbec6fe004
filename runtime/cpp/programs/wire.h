// Numbers, texts and arrays as a conformance kit's JSON has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../src/plain/json.h"
#include "base64.h"

namespace clap::inner::wire {

inline const Value* given(const Value& input, const char* name) {
    const Value* found = input.find(name);
    return found && !found->is(Value::Kind::null) ? found : nullptr;
}

inline double number(const Value& value) {
    return value.is(Value::Kind::whole) ? static_cast<double>(value.number) : value.real;
}

inline std::optional<double> maybe_number(const Value& input, const char* name) {
    const Value* found = given(input, name);
    return found ? std::optional<double>(number(*found)) : std::nullopt;
}

inline std::optional<std::int64_t> maybe_whole(const Value& input, const char* name) {
    const Value* found = given(input, name);
    return found ? std::optional<std::int64_t>(static_cast<std::int64_t>(found->number))
                 : std::nullopt;
}

inline std::optional<std::string> maybe_text(const Value& input, const char* name) {
    const Value* found = given(input, name);
    return found ? std::optional<std::string>(found->text) : std::nullopt;
}

inline std::string text(const Value& input, const char* name, const std::string& otherwise = "") {
    const Value* found = given(input, name);
    return found ? found->text : otherwise;
}

inline std::vector<std::string> texts(const Value& list) {
    std::vector<std::string> found;
    for (const Value& item : list.items) found.push_back(item.text);
    return found;
}

template <class T>
Value array(const char* type, std::vector<std::int64_t> shape, const std::vector<T>& data) {
    Value axes = Value::array();
    for (std::int64_t n : shape) axes.items.push_back(Value(n));
    const std::string_view bytes(reinterpret_cast<const char*>(data.data()),
                                 data.size() * sizeof(T));
    return Value::object({{"dtype", type}, {"shape", axes}, {"base64", base64(bytes)}});
}

inline Value floats(std::vector<std::int64_t> shape, const std::vector<float>& data) {
    return array("float32", std::move(shape), data);
}

inline std::int64_t length(const std::vector<float>& data) {
    return static_cast<std::int64_t>(data.size());
}

}  // namespace clap::inner::wire
