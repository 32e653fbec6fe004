#include "tagger_file.h"

#include <cstring>

#include "../plain/files.h"
#include "../plain/sha256.h"
#include "../plain/shown.h"
#include "onnx_file.h"

namespace clap::inner {

namespace {

constexpr std::uint64_t most_graph = 0x7FFFFFFF;
constexpr const char* key = "clap-export-tagger";
constexpr const char* manifest_key = "clap-export-manifest";
constexpr const char* embeddings = "label_embeddings";
constexpr const char *scales = "label_scales", *biases = "label_biases";  // of a head
constexpr std::int64_t head_version = 2;

[[noreturn]] void damaged(const TaggerFile& file, const std::string& problem) {
    throw Error(Code::bundle,
                "'" + file.path + "' is a damaged tagger: " + problem + ". Freeze it again.");
}

Floats constant(const TaggerFile& file, const OnnxGraph& graph, const char* name,
                const std::vector<std::int64_t>& shape) {
    const auto found = graph.tensors.find(name);
    if (found == graph.tensors.end() || !found->second.has_raw || !found->second.is_float ||
        found->second.dims != shape)
        damaged(file, std::string("its labels are no constant '") + name + "' of float32 " +
                          tuple(shape));
    const std::string_view raw = found->second.raw;
    Floats values{shape, std::vector<float>(raw.size() / sizeof(float))};
    if (!raw.empty()) std::memcpy(values.data.data(), raw.data(), raw.size());
    return values;
}

// The labels' numbers, of which the metadata says what they must be.
void read_numbers(TaggerFile& file, const OnnxGraph& graph, const std::string& sha,
                  std::optional<Head> head) {
    const auto count = static_cast<std::int64_t>(file.bank.names.size()),
               dim = file.manifest.embedding_dim;
    Matrix& rows = file.bank.embeddings;
    rows.rows = file.bank.names.size();
    rows.columns = static_cast<std::size_t>(dim);
    rows.data = constant(file, graph, embeddings, {count, dim}).data;
    if (sha256(graph.tensors.at(embeddings).raw) != sha)
        damaged(file, "its labels do not have the recorded SHA-256");
    for (const char* name : {"scores", "similarity", "embedding"})
        if (!graph.outputs.count(name)) damaged(file, std::string("it gives no '") + name + "'");
    if (!head) return;
    head->scales = constant(file, graph, scales, {count});
    head->biases = constant(file, graph, biases, {count});
    const std::string problem = head->problem(rows);
    if (!problem.empty()) damaged(file, "of its head, " + problem);
    file.bank.head = std::make_shared<const Head>(std::move(*head));
}

}  // namespace

TaggerFile TaggerFile::read(const std::string& given) {
    TaggerFile file;
    file.path = tidy(given);
    file.data = read_file(file.path, most_graph, Code::bundle);
    for (const char* suffix : {".xml", ".bin"})
        if (file.path.size() > 4 && file.path.compare(file.path.size() - 4, 4, suffix) == 0)
            throw Error(Code::bundle,
                        "'" + given +
                            "' is in OpenVINO's own format, for programs that use OpenVINO alone: "
                            "give the tagger's .onnx, which providers=('openvino',) run on "
                            "OpenVINO just as well.");
    const OnnxGraph graph = OnnxGraph::check(file.data, file_name(file.path));
    const auto own = graph.metadata.find(key), manifest = graph.metadata.find(manifest_key);
    if (own == graph.metadata.end() || manifest == graph.metadata.end())
        throw Error(Code::bundle,
                    "'" + given +
                        "' is an ONNX file, but no tagger: it says nothing of labels. Make one: "
                        "clap-export freeze BUNDLE LABELS -o tagger.onnx");
    file.manifest = Manifest::parse(file.path, manifest->second);
    const Value document = read_json(own->second, given, Code::bundle);
    Problems problems;
    const Table table(
        Field(&document, "", problems),
        {"format_version", "labels", "templates", "scores", "top_k", "labels_sha256", "head"},
        {"head"});
    const std::int64_t version = table["format_version"].whole_choice({1, head_version});
    table["labels"].each([&](const Field& label) { file.bank.names.push_back(label.any_text()); });
    table["templates"].each(
        [&](const Field& prompt) { file.bank.templates.push_back(prompt.text(1000)); });
    file.scores = table["scores"].choice({"softmax", "cosine", "multilabel"});
    file.top_k = table["top_k"].maybe_whole(1, 1 << 24);
    const std::string sha = table["labels_sha256"].text(255);
    std::optional<Head> head;
    if (const Field field = table["head"]; !field.missing() && !field.null())
        head = Head::read(field);
    if (table.fine() && head.has_value() != (version == head_version))
        table.add("a tagger of a head has the format_version 2, and 'head'");
    problems.raise(given);
    read_numbers(file, graph, sha, std::move(head));
    file.bank.space_id = file.manifest.space_id;
    file.bank.check_parts();
    return file;
}

}  // namespace clap::inner
