// Parts of a `tokenizer.json` that several of its steps have.
#pragma once

#include <string>

#include "../plain/json.h"
#include "pattern.h"

namespace clap::inner {

bool flag_of(const Value& step, const char* name, bool otherwise);
Pattern pattern_of(const Value& pattern);
Keep keep_of(const Value& step, Keep otherwise);

}  // namespace clap::inner
