// OpenVINO on the CPU.

#include <openvino/openvino.hpp>

#include <cstring>

#include "../error.h"
#include "engine.h"

namespace clap::inner {

namespace {

std::string shape_of(const Input& input) {
    std::string found = input.name + " [";
    for (std::size_t i = 0; i < input.shape.size(); ++i)
        found += (i ? ", " : "") + std::to_string(input.shape[i]);
    return found + "]";
}

class OpenVino : public Engine {
  public:
    OpenVino(const std::string& model, int threads) {
        ov::AnyMap settings{
            // Else it takes bfloat16 where the CPU has it: too coarse for the mel frontend.
            {ov::hint::inference_precision.name(), ov::element::f32},
            {ov::hint::performance_mode.name(), ov::hint::PerformanceMode::LATENCY},
        };
        if (threads > 0) settings[ov::inference_num_threads.name()] = threads;
        const auto read = core().read_model(model, ov::Tensor());
        compiled_ = core().compile_model(read, "CPU", settings);
        request_ = compiled_.create_infer_request();
        for (const auto& input : compiled_.inputs()) inputs_.push_back(input.get_any_name());
        for (const auto& output : compiled_.outputs()) outputs_.push_back(output.get_any_name());
    }

    const std::vector<std::string>& inputs() const override { return inputs_; }
    const std::vector<std::string>& outputs() const override { return outputs_; }

    std::map<std::string, Output> run(const std::vector<Input>& inputs,
                                      const std::vector<std::string>& wanted) override {
        std::string said;
        try {
            for (const Input& input : inputs) {
                said += (said.empty() ? "" : ", ") + shape_of(input);
                const ov::Shape shape(input.shape.begin(), input.shape.end());
                if (input.floats)
                    request_.set_tensor(input.name, ov::Tensor(ov::element::f32, shape,
                                                               const_cast<float*>(input.floats)));
                else
                    request_.set_tensor(input.name,
                                        ov::Tensor(ov::element::i64, shape,
                                                   const_cast<std::int64_t*>(input.wholes)));
            }
            request_.infer();
            std::map<std::string, Output> found;
            for (const std::string& name : wanted)
                found.emplace(name, copied(request_.get_tensor(name)));
            return found;
        } catch (const std::exception& error) {
            throw Error(Code::backend, "OpenVINO failed on inputs " + said + ": " + error.what());
        }
    }

  private:
    // One for the process: to start it takes longer than to load a graph.
    static ov::Core& core() {
        static ov::Core core;
        return core;
    }

    static Output copied(const ov::Tensor& tensor) {
        Output found;
        for (std::size_t n : tensor.get_shape())
            found.shape.push_back(static_cast<std::int64_t>(n));
        found.data.resize(tensor.get_size());
        std::memcpy(found.data.data(), tensor.data<float>(), tensor.get_size() * sizeof(float));
        return found;
    }

    ov::CompiledModel compiled_;
    ov::InferRequest request_;
    std::vector<std::string> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const std::string& model, const std::string& name,
                                      int threads) {
    try {
        return std::make_unique<OpenVino>(model, threads);
    } catch (const std::exception& error) {
        throw Error(Code::backend, "OpenVINO cannot load '" + name + "': " + error.what());
    }
}

}  // namespace clap::inner
