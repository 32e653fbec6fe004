// What a bundle's manifest says, read strictly; docs/bundle-format.md is the specification.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "policy.h"

namespace clap::inner {

// How waveforms are prepared for the audio graph.
struct AudioSpec {
    std::int64_t sample_rate = 0;
    std::int64_t window_samples = 0;
    std::int64_t hop_samples = 0;
    std::string fill;  // "repeat", "repeatpad" or "pad"
    bool int16_round_trip = false;
    std::string long_clips = "windows";
};

// How texts are prepared for the text graph.
struct TextSpec {
    std::string tokenizer;
    std::int64_t max_tokens = 0;
    std::int64_t pad_id = 0;
    std::vector<std::string> inputs;
    std::string suffix;
};

struct Calibration {
    double scale, bias;
};

struct FileEntry {
    std::string name, sha256;
    std::int64_t bytes = 0;
};

struct Manifest {
    std::int64_t format_version = 0;
    std::string name;
    std::string family;  // of the source
    std::string space_id;
    std::int64_t embedding_dim = 0;
    double logit_scale = 0.0;
    std::optional<Calibration> calibration;
    std::string default_template;
    AudioSpec audio;
    Policy policy;
    std::optional<TextSpec> text;  // a bundle may have no text encoder
    std::string audio_graph;
    std::string text_graph;
    std::vector<std::string> engines;  // files of TensorRT engines, which are not run here
    std::vector<FileEntry> files;

    // A manifest from its bytes; `path` is its name in sentences.
    static Manifest parse(const std::string& path, std::string_view data);
    bool gives_norm() const { return format_version > 3; }
    const FileEntry* file(const std::string& name) const;
};

}  // namespace clap::inner
