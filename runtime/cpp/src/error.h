// What a user can mend, said in one sentence; its code crosses the C interface.
#pragma once

#include <stdexcept>
#include <string>

namespace clap::inner {

// As the exceptions of the Python runtime; the numbers are those of `clap_code` in clap.h.
enum class Code { argument = 1, schema = 2, bundle = 3, audio = 4, label = 5, backend = 6 };

// The code as a word: what the conformance kit compares.
const char* word(Code code);

class Error : public std::runtime_error {
  public:
    Error(Code code, const std::string& sentence) : std::runtime_error(sentence), code(code) {}
    Code code;
};

}  // namespace clap::inner
