#include "bundle.h"

#include "../plain/files.h"
#include "../plain/sha256.h"
#include "../plain/shown.h"
#include "onnx_file.h"

namespace clap::inner {

namespace {

constexpr std::uint64_t most_manifest = 4 << 20, most_graph = 0x7FFFFFFF, piece = 1 << 20;

std::string other_size(const std::string& name, std::uint64_t size, const FileEntry& entry) {
    return "'" + name + "' has " + std::to_string(size) + " bytes, not " +
           std::to_string(entry.bytes);
}

std::string other_hash(const std::string& name) {
    return "'" + name + "' does not have the recorded SHA-256";
}

std::string read_manifest(const std::string& folder) {
    if (is_regular(folder))
        throw Error(Code::bundle,
                    folder + " is a file: a bundle is a folder with a manifest.json. Pass that.");
    return read_file(joined_path(folder, "manifest.json"), most_manifest, Code::bundle,
                     "no bundle at " + folder +
                         ": manifest.json was not found there. Make one with: clap-export --ckpt "
                         "CHECKPOINT --target "
                         "onnx --out DIR");
}

bool outside(const std::string& name) {
    if (!name.empty() && name[0] == '/') return true;
    const std::string whole = "/" + name + "/";
    return whole.find("/../") != whole.npos;
}

std::string file_problem(const std::string& path, const FileEntry& entry) {
    try {
        const OpenFile file(path, Code::bundle,
                            exists(path) ? "" : "'" + entry.name + "' is missing");
        const std::uint64_t size = file.size();
        if (size != static_cast<std::uint64_t>(entry.bytes))
            return other_size(entry.name, size, entry);
        Sha256 digest;
        for (std::uint64_t at = 0; at < size; at += piece) digest.add(file.at(at, piece));
        return digest.hex() == entry.sha256 ? "" : other_hash(entry.name);
    } catch (const Error& error) {
        std::string said = error.what();
        while (!said.empty() && said.back() == '.') said.pop_back();
        return said;
    }
}

}  // namespace

Bundle::Bundle(const std::string& folder) : folder_(tidy(folder)) {
    const std::string data = read_manifest(folder_);
    manifest_ = Manifest::parse(path("manifest.json"), data);
    check_files();
}

std::string Bundle::path(const std::string& name) const {
    return joined_path(folder_, name);
}

std::string Bundle::read(const std::string& name) const {
    std::string data = read_file(path(name), most_graph, Code::bundle);
    const FileEntry& entry = *manifest_.file(name);
    if (data.size() != static_cast<std::uint64_t>(entry.bytes))
        damaged(other_size(name, data.size(), entry));
    if (sha256(data) != entry.sha256) damaged(other_hash(name));
    return data;
}

std::string Bundle::graph(const std::string& name) const {
    std::string data = read(name);
    OnnxGraph::check(data, file_name(name));
    return data;
}

void Bundle::damaged(const std::string& problems) const {
    throw Error(Code::bundle,
                "bundle " + folder_ + " is damaged: " + problems + ". Export it again.");
}

void Bundle::check_files() const {
    std::vector<std::string> used{manifest_.audio_graph}, problems;
    if (!manifest_.text_graph.empty()) used.push_back(manifest_.text_graph);
    if (manifest_.text) used.push_back(manifest_.text->tokenizer);
    used.insert(used.end(), manifest_.engines.begin(), manifest_.engines.end());
    for (const std::string& name : used)
        if (!manifest_.file(name))
            problems.push_back("'" + name + "' is used but not listed in 'files'");
    for (const FileEntry& entry : manifest_.files) {
        const std::string problem = outside(entry.name)
                                        ? "'" + entry.name + "' points outside the bundle"
                                        : file_problem(path(entry.name), entry);
        if (!problem.empty()) problems.push_back(problem);
    }
    if (!problems.empty()) damaged(joined(problems, "; "));
}

}  // namespace clap::inner
