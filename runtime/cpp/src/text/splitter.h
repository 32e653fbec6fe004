// From a text to the words that a model cuts into tokens.
#pragma once

#include <functional>
#include <vector>

#include "../plain/json.h"
#include "pattern.h"

namespace clap::inner {

class Splitter {
  public:
    void add(const Value& step);  // of a file that was checked
    std::vector<Text> operator()(const Text& text) const;

  private:
    std::vector<std::function<std::vector<Text>(const Text&)>> steps_;
};

}  // namespace clap::inner
