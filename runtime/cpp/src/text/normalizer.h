// The steps that a text goes through before it is split.
#pragma once

#include <functional>
#include <vector>

#include "../plain/json.h"
#include "pattern.h"

namespace clap::inner {

class Normalizer {
  public:
    void add(const Value& step);  // of a file that was checked
    Text operator()(Text text) const;

  private:
    std::vector<std::function<Text(const Text&)>> steps_;
};

}  // namespace clap::inner
