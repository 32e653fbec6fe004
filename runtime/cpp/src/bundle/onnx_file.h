// ONNX files are looked into before an engine sees them: an engine does whatever a graph says.
//
// A graph of a bundle is one plain data flow, without weights outside its file, control flow,
// functions, or operations that are not on the list; see runtime/onnx_file.py.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace clap::inner {

struct OnnxGraph {
    using Shape =
        std::vector<std::optional<std::int64_t>>;  // an axis without a fixed length is none

    struct Tensor {
        std::vector<std::int64_t> dims;
        std::vector<std::int64_t> values;  // of a short list of whole numbers
        std::string_view raw;              // its bytes in the file
        bool has_raw = false;
        bool is_float = false;
    };

    struct Node {
        std::string operation;
        std::vector<std::string> inputs, outputs;
    };

    std::map<std::string, Shape> inputs, outputs;
    std::map<std::string, Tensor> tensors;
    std::vector<Node> nodes;
    std::map<std::string, std::string> metadata;

    // Looks through a file, without copying its weights; `name` is for the sentence. The views in
    // the result are of `data`.
    static OnnxGraph check(std::string_view data, const std::string& name);
    // Length of the constant table that an input picks rows of, if there is one.
    std::optional<std::int64_t> rows(const std::string& indices) const;
};

}  // namespace clap::inner
