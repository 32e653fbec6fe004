#include "encoder.h"

#include <algorithm>
#include <cmath>

#include "bundle/onnx_file.h"
#include "clips/clip.h"
#include "clips/pool.h"
#include "error.h"
#include "plain/files.h"
#include "plain/shown.h"
#include "text/tokenizer.h"

namespace clap::inner {

namespace {

constexpr std::size_t text_batch = 16;  // texts

void check_window(const OnnxGraph& graph, const std::string& name, const Manifest& manifest) {
    const auto found = graph.inputs.find("waveform");
    if (found == graph.inputs.end()) return;
    const auto& shape = found->second;
    const bool fits =
        shape.size() == 2 && (!shape[1] || *shape[1] == manifest.audio.window_samples);
    if (!fits)
        throw Error(Code::bundle, "'" + name + "' takes windows of " +
                                      std::to_string(shape.size() > 1 ? shape[1].value_or(0) : 0) +
                                      " samples, the manifest says " +
                                      std::to_string(manifest.audio.window_samples) +
                                      ". Export the bundle again.");
}

void check_unit(const Matrix& rows) {
    for (std::size_t i = 0; i < rows.rows; ++i) {
        double sum = 0.0;
        for (std::size_t j = 0; j < rows.columns; ++j)
            sum += static_cast<double>(rows.row(i)[j]) * rows.row(i)[j];
        if (!std::isfinite(sum))
            throw Error(Code::backend,
                        "the engine returned embeddings that are not finite. Export the bundle "
                        "with another precision "
                        "(fp32).");
        if (std::fabs(std::sqrt(sum) - 1.0) > 1e-2)
            throw Error(Code::bundle,
                        "the graph returned embeddings that are not of unit norm (off by " +
                            general(std::fabs(std::sqrt(sum) - 1.0), 3) +
                            "). Export the bundle again.");
    }
}

}  // namespace

Error no_text_encoder() {
    return Error(Code::bundle,
                 "there is no text encoder here, so labels must come as a saved bank (.npz), which "
                 "the whole bundle makes: clap-export labels BUNDLE FILE -o bank.npz");
}

Encoder::Encoder(const std::string& folder, const EncoderOptions& options)
    : options_(options), bundle_(folder) {
    manifest_ = bundle_->manifest();
    open_audio(bundle_->read(manifest_.audio_graph), manifest_.audio_graph);
}

Encoder::Encoder(Manifest manifest, const std::string& graph, const std::string& name,
                 const EncoderOptions& options)
    : options_(options), manifest_(std::move(manifest)) {
    open_audio(graph, name);
}

Encoder::~Encoder() = default;

void Encoder::open_audio(const std::string& graph, const std::string& name) {
    policy_ = options_.policy ? *options_.policy : chosen(options_.windows, manifest_);
    check_followed(policy_, manifest_.audio, manifest_.gives_norm());
    check_window(OnnxGraph::check(graph, name), name, manifest_);
    audio_ = open_engine(graph, name, options_.engine, options_.threads);
    if (audio_->inputs() != std::vector<std::string>{"waveform"})
        throw Error(Code::bundle,
                    "'" + name + "' has inputs " + tuple(audio_->inputs()) +
                        "; this audio graph must have ('waveform',). Export the bundle again.");
    const auto& outputs = audio_->outputs();
    if (manifest_.gives_norm() &&
        std::find(outputs.begin(), outputs.end(), "norm") == outputs.end())
        throw Error(
            Code::bundle,
            "the audio graph has outputs " + tuple(outputs) + "; of format_version " +
                std::to_string(manifest_.format_version) +
                " it must have 'norm' among them. Export the bundle again, and build its engines "
                "anew if it has any.");
}

void Encoder::open_text() const {
    if (text_) return;
    if (!bundle_ || !manifest_.text || manifest_.text_graph.empty()) throw no_text_encoder();
    const TextSpec& spec = *manifest_.text;
    tokenizer_ =
        std::make_unique<Tokenizer>(bundle_->read(spec.tokenizer), bundle_->path(spec.tokenizer),
                                    spec, policy_.quirks.whole_texts);
    const std::string& file = manifest_.text_graph;
    const std::string data = bundle_->read(file);
    const auto rows = OnnxGraph::check(data, file_name(file)).rows("input_ids");
    if (rows && tokenizer_->largest_id() >= *rows)
        throw Error(Code::bundle,
                    "the tokenizer gives ids up to " + std::to_string(tokenizer_->largest_id()) +
                        ", '" + file + "' embeds " + std::to_string(*rows) +
                        " tokens: they are of different models. Export the bundle again.");
    auto engine = open_engine(data, bundle_->path(file), options_.engine, options_.threads);
    auto given = engine->inputs(), wanted = spec.inputs;
    std::sort(given.begin(), given.end());
    std::sort(wanted.begin(), wanted.end());
    if (given != wanted)
        throw Error(Code::bundle, "'" + file + "' has inputs " + tuple(engine->inputs()) +
                                      ", the manifest says " + tuple(spec.inputs) +
                                      ". Export the bundle again.");
    text_ = std::move(engine);
}

void Encoder::close_text() {
    const std::lock_guard<std::mutex> held(lock_);
    text_.reset();
    tokenizer_.reset();
}

Output Encoder::checked(Output output, std::size_t rows) const {
    const std::vector<std::int64_t> expected{static_cast<std::int64_t>(rows),
                                             manifest_.embedding_dim};
    if (output.shape == expected) return output;
    throw Error(Code::bundle, "the graph returned float32 " + tuple(output.shape) +
                                  ", the manifest promises float32 " + tuple(expected) +
                                  ". Export the bundle again.");
}

Matrix Encoder::embed_windows(const std::vector<std::vector<float>>& rows, bool raw) const {
    Matrix found;
    found.columns = static_cast<std::size_t>(manifest_.embedding_dim);
    std::vector<float> waveform;
    for (std::size_t at = 0; at < rows.size(); at += batch) {
        const std::size_t count = std::min(batch, rows.size() - at);
        waveform.clear();
        for (std::size_t i = at; i < at + count; ++i)
            waveform.insert(waveform.end(), rows[i].begin(), rows[i].end());
        Input input;
        input.name = "waveform";
        input.shape = {static_cast<std::int64_t>(count), manifest_.audio.window_samples};
        input.floats = waveform.data();
        std::vector<std::string> wanted{"embedding"};
        if (raw) wanted.push_back("norm");
        std::map<std::string, Output> outputs;
        {
            const std::lock_guard<std::mutex> held(lock_);
            outputs = audio_->run({input}, wanted);
        }
        const Output embedding = checked(std::move(outputs["embedding"]), count);
        if (raw &&
            outputs["norm"].shape != std::vector<std::int64_t>{static_cast<std::int64_t>(count)})
            throw Error(Code::bundle,
                        "the audio graph gives no 'norm' of float32 [" + std::to_string(count) +
                            "], which the manifest promises. Export the bundle again.");
        for (std::size_t i = 0; i < count; ++i) {
            std::vector<float> row(
                embedding.data.begin() + static_cast<std::ptrdiff_t>(i * found.columns),
                embedding.data.begin() + static_cast<std::ptrdiff_t>((i + 1) * found.columns));
            if (raw)
                for (float& value : row) value *= outputs["norm"].data[i];
            found.add(row.data());
        }
    }
    return found;
}

std::string Encoder::windows(const Source& source, const Policy& policy, bool raw,
                             const std::function<void(const Window&)>& take) const {
    std::vector<Cut> waiting;
    const auto flush = [&] {
        if (waiting.empty()) return;
        std::vector<std::vector<float>> rows;
        std::vector<Window> heard;
        for (Cut& cut : waiting) {
            heard.push_back({cut.start, cut.end, mean_square(cut.row), {}});
            rows.push_back(std::move(cut.row));
        }
        waiting.clear();
        const Matrix found = embed_windows(rows, raw);
        for (std::size_t i = 0; i < found.rows; ++i) {
            check_heard(found.row(i), found.columns, !raw);
            heard[i].vector.assign(found.row(i), found.row(i) + found.columns);
            take(heard[i]);
        }
    };
    const std::string warning = cuts(source, manifest_.audio, policy, [&](Cut cut) {
        waiting.push_back(std::move(cut));
        if (waiting.size() == batch) flush();
    });
    flush();
    return warning;
}

std::vector<float> Encoder::embed(const Source& source, std::string* warning) const {
    if (policy_.pooling == "max")
        throw Error(
            Code::argument,
            "the policy '" + policy_.name +
                "' takes the highest scores over windows, which leaves no embedding: use it with a "
                "Classifier, or choose another policy.");
    Pool pool(policy_.pooling);
    const std::string said = windows(source, policy_, pool.raw(), [&](const Window& window) {
        pool.add(window.vector.data(), window.vector.size(), window.energy);
    });
    if (warning) *warning = said;
    return pool.embedding();
}

Matrix Encoder::embed_text(const std::vector<std::string>& texts) const {
    if (texts.empty()) throw Error(Code::argument, "no texts were given: pass at least one.");
    const std::lock_guard<std::mutex> held(lock_);
    open_text();
    Matrix found;
    found.columns = static_cast<std::size_t>(manifest_.embedding_dim);
    for (std::size_t at = 0; at < texts.size(); at += text_batch) {
        const std::size_t count = std::min(text_batch, texts.size() - at);
        const std::vector<std::string> part(
            texts.begin() + static_cast<std::ptrdiff_t>(at),
            texts.begin() + static_cast<std::ptrdiff_t>(at + count));
        const Tokens tokens = (*tokenizer_)(part);
        std::vector<Input> inputs;
        for (const std::string& name : manifest_.text->inputs) {
            Input input;
            input.name = name;
            input.shape = {static_cast<std::int64_t>(tokens.rows),
                           static_cast<std::int64_t>(tokens.length)};
            input.wholes = tokens.of(name).data();
            inputs.push_back(input);
        }
        const std::string output = text_->outputs().front();
        const Output rows = checked(std::move(text_->run(inputs, {output})[output]), count);
        for (std::size_t i = 0; i < count; ++i) found.add(rows.data.data() + i * found.columns);
    }
    check_unit(found);
    return found;
}

}  // namespace clap::inner
