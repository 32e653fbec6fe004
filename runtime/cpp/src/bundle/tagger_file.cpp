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
constexpr const char* constant = "label_embeddings";

void read_labels(TaggerFile& file, const OnnxGraph& graph, const std::string& sha) {
    const auto rows = static_cast<std::int64_t>(file.bank.names.size()),
               dim = file.manifest.embedding_dim;
    const auto found = graph.tensors.find(constant);
    std::string problem;
    if (found == graph.tensors.end() || !found->second.has_raw || !found->second.is_float ||
        found->second.dims != std::vector<std::int64_t>{rows, dim})
        problem = std::string("its labels are no constant '") + constant + "' of float32 (" +
                  std::to_string(rows) + ", " + std::to_string(dim) + ")";
    else if (sha256(found->second.raw) != sha)
        problem = "its labels do not have the recorded SHA-256";
    else
        for (const char* name : {"scores", "similarity", "embedding"})
            if (problem.empty() && !graph.outputs.count(name))
                problem = std::string("it gives no '") + name + "'";
    if (!problem.empty())
        throw Error(Code::bundle,
                    "'" + file.path + "' is a damaged tagger: " + problem + ". Freeze it again.");
    file.bank.embeddings = Matrix(static_cast<std::size_t>(rows), static_cast<std::size_t>(dim));
    std::memcpy(file.bank.embeddings.data.data(), found->second.raw.data(),
                found->second.raw.size());
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
    const Table table(Field(&document, "", problems), {"format_version", "labels", "templates",
                                                       "scores", "top_k", "labels_sha256"});
    table["format_version"].whole_choice(1);
    table["labels"].each([&](const Field& label) { file.bank.names.push_back(label.any_text()); });
    table["templates"].each(
        [&](const Field& prompt) { file.bank.templates.push_back(prompt.text(1000)); });
    file.scores = table["scores"].choice({"softmax", "cosine", "multilabel"});
    file.top_k = table["top_k"].maybe_whole(1, 1 << 24);
    const std::string sha = table["labels_sha256"].text(255);
    problems.raise(given);
    read_labels(file, graph, sha);
    file.bank.space_id = file.manifest.space_id;
    const auto wrong = file.bank.problems();
    if (!wrong.empty())
        throw Error(Code::label, "ill-formed label bank: " + joined(wrong, "; ") + ".");
    return file;
}

}  // namespace clap::inner
