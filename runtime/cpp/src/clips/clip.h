// A recording as the windows that a policy takes of it, at a fixed memory.
#pragma once

#include <functional>

#include "../audio/source.h"
#include "cutter.h"

namespace clap::inner {

// Gives `take` all windows in order; returns the recording's warning, or nothing.
std::string cuts(const Source& source, const AudioSpec& spec, const Policy& policy,
                 const std::function<void(Cut)>& take);

}  // namespace clap::inner
