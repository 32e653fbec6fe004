// Any bytes as an ONNX file: refused in a sentence, or read within its bytes.

#include <cstdint>

#include "bundle/onnx_file.h"
#include "error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace clap::inner;
    try {
        OnnxGraph::check(std::string_view(reinterpret_cast<const char*>(data), size), "g")
            .rows("input_ids");
    } catch (const Error&) {
    }
    return 0;
}
