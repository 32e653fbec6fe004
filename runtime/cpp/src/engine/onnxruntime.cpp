// ONNX Runtime on the CPU, by its C interface.

#include <onnxruntime_c_api.h>

#include <cstdlib>
#include <memory>

#include "../error.h"
#include "engine.h"

namespace clap::inner {

namespace {

constexpr int errors_only = 3;  // of a session's log

const OrtApi& api() {
    static const OrtApi* found = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!found)
        throw Error(Code::backend, std::string("ONNX Runtime ") +
                                       OrtGetApiBase()->GetVersionString() +
                                       " is older than the headers that this library was built "
                                       "with: install the same or a later one.");
    return *found;
}

// Why a call failed.
struct Failed {
    std::string said;
};

void check(OrtStatus* status) {
    if (!status) return;
    Failed failed{api().GetErrorMessage(status)};
    api().ReleaseStatus(status);
    throw failed;
}

OrtEnv* environment() {
    static OrtEnv* found = [] {
        // It reports to its maker unless told not to, before it starts.
        ::setenv("ORT_DISABLE_TELEMETRY", "1", 0);
        OrtEnv* made = nullptr;
        check(api().CreateEnv(ORT_LOGGING_LEVEL_ERROR, "clap", &made));
        check(api().DisableTelemetryEvents(made));
        return made;  // for the life of the process: sessions may be in use until its end
    }();
    return found;
}

template <class T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

void release(OrtValue* value) {
    api().ReleaseValue(value);
}
void release(OrtSession* session) {
    api().ReleaseSession(session);
}
void release(OrtSessionOptions* options) {
    api().ReleaseSessionOptions(options);
}
void release(OrtMemoryInfo* info) {
    api().ReleaseMemoryInfo(info);
}
void release(OrtTensorTypeAndShapeInfo* info) {
    api().ReleaseTensorTypeAndShapeInfo(info);
}

template <class T>
Owned<T> owned(T* made) {
    return Owned<T>(made, [](T* thing) { release(thing); });
}

std::string shape_of(const Input& input) {
    std::string found = input.name + " [";
    for (std::size_t i = 0; i < input.shape.size(); ++i)
        found += (i ? ", " : "") + std::to_string(input.shape[i]);
    return found + "]";
}

class OnnxRuntime : public Engine {
  public:
    OnnxRuntime(const std::string& model, int threads)
        : session_(nullptr, [](OrtSession*) {}), memory_(nullptr, [](OrtMemoryInfo*) {}) {
        OrtSessionOptions* made = nullptr;
        check(api().CreateSessionOptions(&made));
        const auto options = owned(made);
        check(api().SetIntraOpNumThreads(made, threads));  // 0: one per core
        check(api().SetInterOpNumThreads(made, 1));
        check(api().SetSessionLogSeverityLevel(made, errors_only));
        // Else bytes that look like its own format are not read as the ONNX that was checked.
        check(api().AddSessionConfigEntry(made, "session.load_model_format", "ONNX"));
        OrtSession* session = nullptr;
        check(api().CreateSessionFromArray(environment(), model.data(), model.size(), made,
                                           &session));
        session_ = owned(session);
        OrtMemoryInfo* memory = nullptr;
        check(api().CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
        memory_ = owned(memory);
        names(api().SessionGetInputCount, api().SessionGetInputName, inputs_);
        names(api().SessionGetOutputCount, api().SessionGetOutputName, outputs_);
    }

    const std::vector<std::string>& inputs() const override { return inputs_; }
    const std::vector<std::string>& outputs() const override { return outputs_; }

    std::map<std::string, Output> run(const std::vector<Input>& inputs,
                                      const std::vector<std::string>& wanted) override {
        std::string said;
        for (const Input& input : inputs) said += (said.empty() ? "" : ", ") + shape_of(input);
        try {
            return checked(inputs, wanted);
        } catch (const Failed& failed) {
            throw Error(Code::backend,
                        "ONNX Runtime failed on inputs " + said + ": " + failed.said);
        }
    }

  private:
    template <class Count, class Name>
    void names(Count count_of, Name name_of, std::vector<std::string>& found) {
        std::size_t count = 0;
        check(count_of(session_.get(), &count));
        OrtAllocator* allocator = nullptr;
        check(api().GetAllocatorWithDefaultOptions(&allocator));
        for (std::size_t i = 0; i < count; ++i) {
            char* name = nullptr;
            check(name_of(session_.get(), i, allocator, &name));
            found.emplace_back(name);
            check(api().AllocatorFree(allocator, name));
        }
    }

    std::map<std::string, Output> checked(const std::vector<Input>& inputs,
                                          const std::vector<std::string>& wanted) {
        std::vector<Owned<OrtValue>> held;
        std::vector<const OrtValue*> values;
        std::vector<const char*> given, asked;
        for (const Input& input : inputs) {
            std::size_t count = 1;
            for (std::int64_t n : input.shape) count *= static_cast<std::size_t>(n);
            OrtValue* value = nullptr;
            void* data = input.floats ? static_cast<void*>(const_cast<float*>(input.floats))
                                      : const_cast<std::int64_t*>(input.wholes);
            check(api().CreateTensorWithDataAsOrtValue(
                memory_.get(), data, count * (input.floats ? sizeof(float) : sizeof(std::int64_t)),
                input.shape.data(), input.shape.size(),
                input.floats ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
                             : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
                &value));
            held.push_back(owned(value));
            values.push_back(value);
            given.push_back(input.name.c_str());
        }
        for (const std::string& name : wanted) asked.push_back(name.c_str());
        std::vector<OrtValue*> results(wanted.size(), nullptr);
        check(api().Run(session_.get(), nullptr, given.data(), values.data(), values.size(),
                        asked.data(), asked.size(), results.data()));
        for (OrtValue* result : results) held.push_back(owned(result));
        std::map<std::string, Output> found;
        for (std::size_t i = 0; i < wanted.size(); ++i)
            found.emplace(wanted[i], copied(results[i]));
        return found;
    }

    static Output copied(OrtValue* value) {
        OrtTensorTypeAndShapeInfo* made = nullptr;
        check(api().GetTensorTypeAndShape(value, &made));
        const auto info = owned(made);
        std::size_t rank = 0, count = 1;
        check(api().GetDimensionsCount(made, &rank));
        Output found;
        found.shape.resize(rank);
        check(api().GetDimensions(made, found.shape.data(), rank));
        for (std::int64_t n : found.shape) count *= static_cast<std::size_t>(n);
        void* data = nullptr;
        check(api().GetTensorMutableData(value, &data));
        const float* floats = static_cast<const float*>(data);
        found.data.assign(floats, floats + count);
        return found;
    }

    Owned<OrtSession> session_;
    Owned<OrtMemoryInfo> memory_;
    std::vector<std::string> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<Engine> open_onnxruntime(const std::string& model, const std::string& name,
                                         int threads) {
    try {
        return std::make_unique<OnnxRuntime>(model, threads);
    } catch (const Failed& failed) {
        throw Error(Code::backend, "ONNX Runtime cannot load '" + name + "': " + failed.said);
    }
}

}  // namespace clap::inner
