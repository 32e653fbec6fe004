#include "engine.h"

#include <algorithm>

#include "../error.h"
#include "../plain/shown.h"

namespace clap::inner {

#ifdef CLAP_OPENVINO
std::unique_ptr<Engine> open_openvino(const std::string& model, const std::string& name,
                                      int threads);
#endif
#ifdef CLAP_ONNXRUNTIME
std::unique_ptr<Engine> open_onnxruntime(const std::string& model, const std::string& name,
                                         int threads);
#endif

const std::vector<std::string>& engine_names() {
    static const std::vector<std::string> names{
#ifdef CLAP_OPENVINO
        "openvino",
#endif
#ifdef CLAP_ONNXRUNTIME
        "onnxruntime",
#endif
    };
    return names;
}

std::unique_ptr<Engine> open_engine(const std::string& model, const std::string& name,
                                    const std::string& engine, int threads) {
    const auto& names = engine_names();
    const std::string chosen = engine.empty() && !names.empty() ? names.front() : engine;
    if (threads < 0 || threads > 1024)
        throw Error(Code::backend,
                    "threads=" + std::to_string(threads) + ": pass a number from 0 to 1024.");
#ifdef CLAP_OPENVINO
    if (chosen == "openvino") return open_openvino(model, name, threads);
#endif
#ifdef CLAP_ONNXRUNTIME
    if (chosen == "onnxruntime") return open_onnxruntime(model, name, threads);
#endif
    throw Error(Code::backend, "engine " + quoted(chosen) +
                                   " was asked for, but this library was built with " +
                                   (names.empty() ? "none" : joined(names, ", ")) + ".");
}

}  // namespace clap::inner
