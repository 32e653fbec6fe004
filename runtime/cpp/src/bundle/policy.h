// Which windows of a recording are heard, and how one embedding is made of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../plain/schema.h"

namespace clap::inner {

struct AudioSpec;
struct Manifest;

// What an original package does otherwise; the defaults are what is done here.
struct Quirks {
    std::string resampler = "soxr";
    std::string channels = "mean";
    bool always_longer = false;
    bool whole_texts = false;

    bool operator==(const Quirks& other) const;
};

struct Policy {
    std::string name;
    std::string windows = "all";
    std::optional<std::int64_t> count;
    std::optional<double> hop;  // seconds
    std::string tail = "aligned";
    std::string pooling = "mean";
    Quirks quirks;

    static Policy of(const AudioSpec& spec);
    static Policy read(const Field& field);

    std::int64_t hop_samples(const AudioSpec& spec) const;
    // The policy of a timeline: all windows, with a hop in seconds; default the policy's.
    Policy timeline(const AudioSpec& spec, std::optional<double> hop) const;
    bool needs_total() const { return windows == "spaced" || windows == "middle"; }
    // Where windows start, of a policy that counts them.
    std::vector<std::int64_t> starts(const AudioSpec& spec, std::int64_t total) const;
    std::string clip_space_id(const std::string& space_id, const AudioSpec& spec) const;
};

// A policy by a preset's name, or the bundle's where that is empty or "default".
Policy chosen(const std::string& wanted, const Manifest& manifest);
// Throws where a bundle, or this runtime, cannot follow a policy.
void check_followed(const Policy& policy, const AudioSpec& spec, bool gives_norm);

}  // namespace clap::inner
