// The file of a tagger: a bundle's audio graph with labels inside, in one ONNX file.
#pragma once

#include <optional>
#include <string>

#include "../labels/bank.h"
#include "manifest.h"

namespace clap::inner {

struct TaggerFile {
    std::string path;
    std::string data;  // all of the file
    Manifest manifest;
    LabelBank bank;
    std::string scores;  // "softmax", "cosine" or "multilabel"
    std::optional<std::int64_t> top_k;

    static TaggerFile read(const std::string& path);
};

}  // namespace clap::inner
