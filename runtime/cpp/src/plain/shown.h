// Values in sentences, as Python shows them: the sentences are the same in every language.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"

namespace clap::inner {

std::string to_text(Whole number);
std::string to_text(double number);                  // Python's repr of a float
std::string general(double number, int digits = 6);  // Python's :g
std::string fixed(double number, int digits);        // Python's :.1f
std::string quoted(std::string_view text);           // Python's repr of a str
// `text` with what a terminal would act on replaced by an escape such as \x1b.
std::string printable(std::string_view text);
std::string represented(const Value& value);                  // Python's repr of what JSON gave
std::string shown(const Value& value);                        // the same, short and printable
std::string shortly(std::string_view text);                   // Python's reprlib.repr of a str
std::string tuple(const std::vector<std::int64_t>& numbers);  // Python's repr of a tuple
std::string tuple(const std::vector<std::string>& texts);
std::string joined(const std::vector<std::string>& parts, std::string_view between);
// The first problems, and how many are left: `a; b and 3 more`.
std::string listed(const std::vector<std::string>& problems, std::size_t most = 20,
                   std::string_view between = "; ");
const char* type_name(const Value& value);  // Python's type(value).__name__

}  // namespace clap::inner
