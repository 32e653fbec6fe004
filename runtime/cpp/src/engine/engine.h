// What runs a graph: one interface, one file per engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace clap::inner {

// An input: float32 or int64 numbers of a shape, which stay the caller's.
struct Input {
    std::string name;
    std::vector<std::int64_t> shape;
    const float* floats = nullptr;
    const std::int64_t* wholes = nullptr;
};

struct Output {
    std::vector<std::int64_t> shape;
    std::vector<float> data;
};

class Engine {
  public:
    virtual ~Engine() = default;
    virtual const std::vector<std::string>& inputs() const = 0;   // names
    virtual const std::vector<std::string>& outputs() const = 0;  // names
    // Runs the graph on a batch; one thread at a time.
    virtual std::map<std::string, Output> run(const std::vector<Input>& inputs,
                                              const std::vector<std::string>& wanted) = 0;
};

// Names of the engines that this library was built with, the preferred one first.
const std::vector<std::string>& engine_names();

// Loads a graph from the bytes of an ONNX file.
//
// `engine`: "openvino" or "onnxruntime"; empty for the preferred one. `threads`: of the CPU inside
// one run; 0 lets the engine choose. `name`: of the file, in sentences.
std::unique_ptr<Engine> open_engine(const std::string& model, const std::string& name,
                                    const std::string& engine, int threads);

}  // namespace clap::inner
