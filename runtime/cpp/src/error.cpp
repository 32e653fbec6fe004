#include "error.h"

namespace clap::inner {

const char* word(Code code) {
    switch (code) {
        case Code::schema: return "schema";
        case Code::bundle: return "bundle";
        case Code::audio: return "audio";
        case Code::label: return "label";
        case Code::backend: return "backend";
        case Code::argument: break;
    }
    return "argument";
}

}  // namespace clap::inner
