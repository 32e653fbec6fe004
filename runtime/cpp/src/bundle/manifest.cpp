#include "manifest.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../plain/shown.h"
#include "../plain/unicode.h"

namespace clap::inner {

namespace {

constexpr int older_version = 3, version = 4;
constexpr std::size_t most_name = 255, most_prose = 4096, most_template = 1000;
constexpr double most_count = 1 << 16, most_rate = 768000, most_samples = 1 << 24;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t most_overlap = 64;

void read_mel(const Field& field) {
    const Table table(field, {"sample_rate", "n_fft", "hop_length", "n_mels", "f_min", "f_max",
                              "scale", "norm", "amin"});
    if (!table.is_table()) return;
    table["sample_rate"].whole(1, most_rate);
    for (const char* name : {"n_fft", "hop_length", "n_mels"}) table[name].whole(1, most_count);
    for (const char* name : {"f_min", "f_max"}) table[name].number(0, most_rate);
    table["scale"].choice({"slaney", "htk"});
    table["norm"].maybe_choice({"slaney"});
    table["amin"].number(0, 1);
}

AudioSpec read_audio(const Field& field) {
    AudioSpec found;
    const Table table(field,
                      {"sample_rate", "window_samples", "hop_samples", "fill", "int16_round_trip",
                       "mel", "long_clips"},
                      {"long_clips"});
    if (!table.is_table()) return found;
    found.sample_rate = table["sample_rate"].whole(1, most_rate);
    found.window_samples = table["window_samples"].whole(1, most_samples);
    found.hop_samples = table["hop_samples"].whole(1, most_samples);
    found.fill = table["fill"].choice({"repeat", "repeatpad", "pad"});
    found.int16_round_trip = table["int16_round_trip"].flag();
    read_mel(table["mel"]);
    if (table.has("long_clips"))
        found.long_clips = table["long_clips"].choice({"windows", "fusion"});
    if (!table.fine()) return found;
    const std::string lengths = "hop_samples=" + std::to_string(found.hop_samples) +
                                ", window_samples=" + std::to_string(found.window_samples);
    if (found.hop_samples > found.window_samples)
        table.add("sample_rate=" + std::to_string(found.sample_rate) + ", " + lengths +
                  ": all must be at least 1, and the hop at most the window");
    else if (found.hop_samples * most_overlap < found.window_samples)
        table.add(lengths + ": the hop must be a 64th of the window or more");
    return found;
}

TextSpec read_text(const Field& field) {
    TextSpec found;
    const Table table(field, {"tokenizer", "max_tokens", "pad_id", "inputs", "suffix"});
    if (!table.is_table()) return found;
    found.tokenizer = table["tokenizer"].text(most_name);
    found.max_tokens = table["max_tokens"].whole(1, most_count);
    found.pad_id = table["pad_id"].whole(0, 1 << 24);
    table["inputs"].each([&](const Field& input) {
        found.inputs.push_back(input.choice({"input_ids", "attention_mask", "token_type_ids"}));
    });
    found.suffix = table["suffix"].text(most_name);
    const bool ids = std::count(found.inputs.begin(), found.inputs.end(), "input_ids") > 0;
    if (table.fine() && !ids)
        table.add("max_tokens=" + std::to_string(found.max_tokens) +
                  ", inputs=" + tuple(found.inputs) +
                  ": there must be at least one token, and 'input_ids' among the inputs");
    return found;
}

std::string read_graph(const Field& field) {
    const Table table(field, {"file", "precision", "opset"});
    if (!table.is_table()) return "";
    const std::string file = table["file"].text(most_name);
    table["precision"].choice({"fp32", "fp16", "int8", "bf16", "int8+bf16"});
    table["opset"].whole(1, 1000);
    return file;
}

std::string read_source(const Field& field) {
    const Table table(field, {"family", "checkpoint", "sha256", "licence"});
    if (!table.is_table()) return "";
    std::string family = table["family"].text(most_name);
    table["checkpoint"].text(most_prose);
    table["sha256"].text(most_name);
    table["licence"].text(most_prose);
    // Older bundles say which of msclap's two models it is; the model's name says it too.
    return family.compare(0, 7, "msclap-") == 0 ? "msclap" : family;
}

std::optional<Calibration> read_calibration(const Field& field) {
    if (field.missing() || field.null()) return std::nullopt;
    const Table table(field, {"scale", "bias"});
    if (!table.is_table()) return std::nullopt;
    Calibration found;
    found.scale = table["scale"].number(-1e6, 1e6);
    found.bias = table["bias"].number(-1e6, 1e6);
    return found;
}

void read_parity(const Field& field) {
    if (field.missing() || field.null()) return;
    const Table table(field, {"passed", "provider", "checks"});
    if (!table.is_table()) return;
    table["passed"].flag();
    table["provider"].text(most_name);
    table["checks"].each([](const Field& check) {
        const Table entry(check, {"name", "value", "limit", "unit", "passed"});
        if (!entry.is_table()) return;
        entry["name"].text(most_name);
        for (const char* name : {"value", "limit"}) entry[name].number(-infinity, infinity, true);
        entry["unit"].text(most_name);
        entry["passed"].flag();
    });
}

void read_race(const Field& field) {
    field.each([](const Field& candidate) {
        const Table entry(candidate, {"precision", "provider", "single", "batched", "chosen"});
        if (!entry.is_table()) return;
        entry["precision"].choice({"fp32", "fp16", "int8", "bf16", "int8+bf16"});
        entry["provider"].text(most_name);
        for (const char* name : {"single", "batched"})
            entry[name].number(-infinity, infinity, true);
        entry["chosen"].flag();
    });
}

std::string read_engine(const Field& field) {
    const Table table(field,
                      {"file", "library", "version", "compute_capabilities", "device", "hardware",
                       "version_compatible", "tf32", "precision", "layers", "profiles"});
    if (!table.is_table()) return "";
    const std::string file = table["file"].text(most_name);
    table["library"].choice({"tensorrt", "tensorrt_rtx"});
    table["version"].text(most_name);
    table["compute_capabilities"].each([](const Field& one) { one.text(most_name); });
    table["device"].text(most_name);
    table["hardware"].choice({"none", "ampere_plus", "same_compute_capability"});
    table["version_compatible"].flag();
    table["tf32"].flag();
    table["precision"].choice({"fp32", "fp16"});
    table["layers"].entries(
        [](const std::string&, const Field& layers) { layers.whole(0, 1 << 24); });
    table["profiles"].each([](const Field& profile) {
        const Table shapes(profile, {"inputs"});
        if (!shapes.is_table()) return;
        shapes["inputs"].entries([](const std::string&, const Field& input) {
            const Table range(input, {"min", "opt", "max"});
            if (!range.is_table()) return;
            for (const char* name : {"min", "opt", "max"})
                range[name].each([](const Field& axis) { axis.whole(1, 1 << 24); });
        });
    });
    return file;
}

std::vector<std::string> read_engines(const Field& field) {
    if (field.missing() || field.null()) return {};
    const Table table(field, {"audio", "text"});
    if (!table.is_table()) return {};
    std::vector<std::string> found{read_engine(table["audio"])};
    const Field text = table["text"];
    if (!text.null()) found.push_back(read_engine(text));
    return found;
}

bool has_half_a_text_encoder(const Manifest& found) {
    const bool text = found.text.has_value(), graph = !found.text_graph.empty();
    return text != graph || (!found.engines.empty() && (found.engines.size() > 1) != text);
}

Manifest read(const Value& document, const std::string& where, bool older) {
    Manifest found;
    Problems problems;
    const Field top(&document, "", problems);
    const Table table(top, {"format",           "format_version", "name",        "source",
                            "space_id",         "embedding_dim",  "logit_scale", "calibration",
                            "default_template", "audio",          "policy",      "text",
                            "audio_graph",      "text_graph",     "files",       "tools",
                            "findings",         "parity",         "race",        "engines"},
                      older ? Names{"policy"} : Names{});
    found.format_version = older ? older_version : version;
    found.name = table["name"].text(most_name);
    found.family = read_source(table["source"]);
    found.space_id = table["space_id"].text(most_name);
    found.embedding_dim = table["embedding_dim"].whole(1, most_count);
    found.logit_scale = table["logit_scale"].number(1e-6, 1e6);
    found.calibration = read_calibration(table["calibration"]);
    found.default_template = table["default_template"].text(most_template);
    found.audio = read_audio(table["audio"]);
    if (const Field policy = table["policy"]; !policy.missing())
        found.policy = Policy::read(policy);
    if (const Field text = table["text"]; !text.missing() && !text.null())
        found.text = read_text(text);
    found.audio_graph = read_graph(table["audio_graph"]);
    if (const Field graph = table["text_graph"]; !graph.missing() && !graph.null())
        found.text_graph = read_graph(graph);
    table["files"].entries([&](const std::string& name, const Field& field) {
        const Table entry(field, {"sha256", "bytes"});
        if (!entry.is_table()) return;
        FileEntry file;
        file.name = name;
        file.sha256 = entry["sha256"].text(most_name);
        file.bytes = entry["bytes"].whole(0, 1099511627776.0);
        found.files.push_back(file);
    });
    table["tools"].entries([](const std::string&, const Field& tool) { tool.text(most_name); });
    table["findings"].each([](const Field& finding) {
        const Table entry(finding, {"name", "detail"});
        if (!entry.is_table()) return;
        entry["name"].text(most_name);
        entry["detail"].text(most_prose);
    });
    read_parity(table["parity"]);
    read_race(table["race"]);
    found.engines = read_engines(table["engines"]);
    if (table.fine()) {
        const auto slot = found.default_template.find("{}");
        if (slot == std::string::npos ||
            found.default_template.find("{}", slot + 2) != std::string::npos)
            table.add("default_template " + quoted(found.default_template) + " must hold one {}");
        else if (unicode::stripped(found.space_id).empty())
            table.add("space_id is empty: it says which label banks belong to the model");
        else if (has_half_a_text_encoder(found))
            table.add(
                "'text' and 'text_graph', and 'text' of 'engines' if there are any, must all be "
                "null or none of them");
    }
    problems.raise(where);
    if (older) found.policy = Policy::of(found.audio);
    return found;
}

}  // namespace

Manifest Manifest::parse(const std::string& path, std::string_view data) {
    const Value document = read_json(data, path, Code::bundle);
    const Value* format = document.find("format");
    if (!format || !format->is(Value::Kind::text) || format->text != "clap-export-bundle")
        throw Error(Code::bundle,
                    path + " is not the manifest of a clap-export bundle ('format' differs).");
    const Value none;
    const Value* found = document.find("format_version");
    if (!found) found = &none;
    const bool known =
        (found->is(Value::Kind::whole) &&
         (found->number == older_version || found->number == version)) ||
        (found->is(Value::Kind::real) && (found->real == older_version || found->real == version));
    if (!known)
        throw Error(Code::bundle, path + " has format_version " + shown(*found) +
                                      "; this runtime reads 3 and 4. Export it again, or install "
                                      "the runtime that wrote it.");
    try {
        const bool older = found->is(Value::Kind::whole) ? found->number == older_version
                                                         : found->real == older_version;
        if (older && document.find("policy"))
            throw Error(Code::schema,
                        path + ": unknown key 'policy' in format_version " + shown(*found));
        if (found->is(Value::Kind::real))
            throw Error(Code::schema, path + ": 'format_version' must be int, is float");
        return read(document, path, older);
    } catch (const Error& error) {
        if (error.code != Code::schema) throw;
        throw Error(Code::schema,
                    std::string(error.what()) + ". Export it again, or mend the manifest.");
    }
}

const FileEntry* Manifest::file(const std::string& wanted) const {
    for (const FileEntry& entry : files)
        if (entry.name == wanted) return &entry;
    return nullptr;
}

}  // namespace clap::inner
