// Recordings and texts to embeddings of one space.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "audio/source.h"
#include "bundle/bundle.h"
#include "clips/cutter.h"
#include "engine/engine.h"
#include "plain/matrix.h"

namespace clap::inner {

class Tokenizer;

// A graph and what it is told: the same for bundles and taggers.
struct EncoderOptions {
    std::string engine;            // empty for the preferred one
    int threads = 0;               // of the CPU inside one run; 0 lets the engine choose
    std::string windows;           // a preset's name; empty for the bundle's
    std::optional<Policy> policy;  // in place of a preset
};

// Of a bundle with an audio graph alone.
Error no_text_encoder();

// A window that was heard.
struct Window {
    std::int64_t start, end;  // of what it holds of the recording, in samples
    double energy;            // its mean square
    std::vector<float>
        vector;  // its embedding, of unit norm; raw where the policy pools raw vectors
};

class Encoder {
  public:
    // Windows at once: more cost a CPU memory, and no window gets quicker.
    static constexpr std::size_t batch = 4;

    Encoder(const std::string& folder, const EncoderOptions& options);
    // Of a graph alone, without a text encoder: a tagger's.
    Encoder(Manifest manifest, const std::string& graph, const std::string& name,
            const EncoderOptions& options);
    ~Encoder();

    const Manifest& manifest() const { return manifest_; }
    const Policy& policy() const { return policy_; }

    // The embedding [dim] of a recording, pooled as the policy says; its warning, if it has one.
    std::vector<float> embed(const Source& source, std::string* warning = nullptr) const;
    // All windows of a recording, a batch at a time; returns the warning. `raw`: unscaled vectors.
    std::string windows(const Source& source, const Policy& policy, bool raw,
                        const std::function<void(const Window&)>& take) const;
    // Embeddings of windows at the model's rate and length.
    Matrix embed_windows(const std::vector<std::vector<float>>& rows, bool raw) const;
    // Embeddings [n, dim] of texts as they are.
    Matrix embed_text(const std::vector<std::string>& texts) const;
    void close_text();  // most of a bundle's memory, when labels are embedded

  private:
    void open_audio(const std::string& graph, const std::string& name);
    void open_text() const;
    Output checked(Output output, std::size_t rows) const;

    EncoderOptions options_;
    std::optional<Bundle> bundle_;
    Manifest manifest_;
    Policy policy_;
    mutable std::mutex lock_;  // an engine runs for one thread at a time
    std::unique_ptr<Engine> audio_;
    mutable std::unique_ptr<Engine> text_;
    mutable std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace clap::inner
