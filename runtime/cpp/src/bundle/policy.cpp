#include "policy.h"

#include <algorithm>
#include <cmath>

#include "../plain/sha256.h"
#include "../plain/shown.h"
#include "../plain/unicode.h"
#include "manifest.h"

namespace clap::inner {

namespace {

constexpr std::int64_t most_windows = 4096;
constexpr double most_seconds = 3600.0;
constexpr double longest_hop = 1152921504606846976.0;  // samples: longer than any recording

const std::vector<Policy>& presets() {
    static const std::vector<Policy> found = [] {
        std::vector<Policy> made(7);
        made[0].name = "all";
        made[1].name = made[1].windows = "head";
        made[2].name = made[2].windows = "middle";
        made[3].name = made[3].windows = "spaced";
        made[1].count = made[2].count = 1;
        made[3].count = 3;
        made[4].name = "loudest";
        made[4].pooling = "energy";
        made[5].name = "rare";
        made[5].pooling = "max";
        made[6].name = "back-to-back";
        made[6].tail = "dropped";
        made[6].pooling = "raw_mean";
        return made;
    }();
    return found;
}

Quirks read_quirks(const Field& field) {
    Quirks found;
    const Names names = {"resampler", "channels", "always_longer", "whole_texts"};
    const Table table(field, names, names);
    if (table.has("resampler"))
        found.resampler = table["resampler"].choice({"soxr", "torchaudio", "librosa"});
    if (table.has("channels")) found.channels = table["channels"].choice({"mean", "strung"});
    if (table.has("always_longer")) found.always_longer = table["always_longer"].flag();
    if (table.has("whole_texts")) found.whole_texts = table["whole_texts"].flag();
    return found;
}

// Those of a family's own package; see runtime/clips/quirks.py.
Quirks quirks_of(const std::string& family) {
    Quirks found;
    if (family != "msclap" && family != "laion" && family != "transformers")
        throw Error(Code::argument,
                    "windows='faithful': this model's family is '" + family +
                        "', and there is no other package whose vectors could be matched. Choose "
                        "'default'.");
    found.resampler = family == "msclap" ? "torchaudio" : "librosa";
    found.channels = family == "msclap" ? "strung" : "mean";
    found.whole_texts = family != "laion";
    return found;
}

}  // namespace

bool Quirks::operator==(const Quirks& other) const {
    return resampler == other.resampler && channels == other.channels &&
           always_longer == other.always_longer && whole_texts == other.whole_texts;
}

Policy Policy::of(const AudioSpec& spec) {
    Policy found;
    found.name = "default";
    found.windows = spec.long_clips == "fusion" ? "fusion" : "all";
    return found;
}

Policy Policy::read(const Field& field) {
    Policy found;
    const Table table(field, {"name", "windows", "count", "hop", "tail", "pooling", "quirks"},
                      {"windows", "count", "hop", "tail", "pooling", "quirks"});
    found.name = table["name"].text(255);
    if (table.has("windows"))
        found.windows = table["windows"].choice({"all", "spaced", "head", "middle", "fusion"});
    found.count = table["count"].maybe_whole(1, most_windows);
    const Field hop = table["hop"];
    if (!hop.missing() && !hop.null()) found.hop = hop.number(1e-6, most_seconds);
    if (table.has("tail")) found.tail = table["tail"].choice({"aligned", "dropped", "filled"});
    if (table.has("pooling"))
        found.pooling = table["pooling"].choice({"mean", "raw_mean", "max", "energy"});
    if (table.has("quirks")) found.quirks = read_quirks(table["quirks"]);
    if (!table.fine()) return found;
    const bool counts =
        found.windows == "spaced" || found.windows == "head" || found.windows == "middle";
    if (counts != found.count.has_value())
        table.add("windows=" + quoted(found.windows) +
                  " and count=" + (found.count ? std::to_string(*found.count) : "None") +
                  ": a count is for 'spaced', 'head' and 'middle', which need one");
    else if (found.hop && (found.windows == "spaced" || found.windows == "fusion"))
        table.add("windows=" + quoted(found.windows) + " have no hop, and it is " +
                  to_text(*found.hop));
    return found;
}

std::int64_t Policy::hop_samples(const AudioSpec& spec) const {
    if (!hop) return spec.hop_samples;
    // To the nearest whole number, halves to the even one, as Python rounds.
    const double samples =
        std::nearbyint(std::min(*hop * static_cast<double>(spec.sample_rate), longest_hop));
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(samples));
}

Policy Policy::timeline(const AudioSpec& spec, std::optional<double> wanted) const {
    Policy found = *this;
    found.windows = "all";
    found.count.reset();
    found.tail = "aligned";
    found.pooling = "mean";
    if (!wanted) return found;
    const std::string need = "a positive number of seconds";
    if (!std::isfinite(*wanted))
        throw Error(Code::argument, "hop=" + to_text(*wanted) + ": pass " + need + ".");
    if (*wanted * static_cast<double>(spec.sample_rate) < 1)
        throw Error(Code::argument,
                    "hop=" + to_text(*wanted) + ": pass " + need + ", at least one sample.");
    found.hop = *wanted;
    return found;
}

std::vector<std::int64_t> Policy::starts(const AudioSpec& spec, std::int64_t total) const {
    std::vector<std::int64_t> found;
    const std::int64_t step = hop_samples(spec), wanted = count.value_or(1);
    if (windows == "head") {
        for (std::int64_t i = 0; i < wanted; ++i) {
            if (i && i > (std::int64_t{1} << 61) / step) break;  // behind any recording
            found.push_back(i * step);
        }
        return found;
    }
    const std::int64_t last = std::max<std::int64_t>(0, total - spec.window_samples);
    if (windows == "spaced") {
        if (wanted == 1) return {last / 2};
        for (std::int64_t i = 0; i < wanted; ++i) {
            const auto start =
                static_cast<std::int64_t>(static_cast<Whole>(i) * last / (wanted - 1));
            if (found.empty() || found.back() != start) found.push_back(start);
        }
        return found;
    }
    const std::int64_t fitting = std::min(wanted, last / step + 1);
    const std::int64_t first = (last - (fitting - 1) * step) / 2;
    for (std::int64_t i = 0; i < fitting; ++i) found.push_back(first + i * step);
    return found;
}

std::string Policy::clip_space_id(const std::string& space_id, const AudioSpec& spec) const {
    // The text that Python's json.dumps(..., sort_keys=True) makes, in ASCII.
    std::string id;
    for (char32_t c : unicode::decode(space_id)) {
        char code[16];
        if (c == '"' || c == '\\')
            id += std::string("\\") + static_cast<char>(c);
        else if (c >= 0x20 && c < 0x7F)
            id.push_back(static_cast<char>(c));
        else if (c < 0x10000) {
            std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
            id += code;
        } else {
            const unsigned rest = static_cast<unsigned>(c) - 0x10000;
            std::snprintf(code, sizeof code, "\\u%04x\\u%04x", 0xD800 + (rest >> 10),
                          0xDC00 + (rest & 0x3FF));
            id += code;
        }
    }
    const std::string text =
        "[\"" + id + "\", {\"count\": " + (count ? std::to_string(*count) : "null") +
        ", \"hop\": " + std::to_string(hop_samples(spec)) + ", \"pooling\": \"" + pooling +
        "\", \"quirks\": {\"always_longer\": " + (quirks.always_longer ? "true" : "false") +
        ", \"channels\": \"" + quirks.channels + "\", \"resampler\": \"" + quirks.resampler +
        "\"}, \"tail\": \"" + tail + "\", \"windows\": \"" + windows + "\"}]";
    return sha256(text).substr(0, 32);
}

Policy chosen(const std::string& wanted, const Manifest& manifest) {
    if (wanted.empty() || wanted == "default") return manifest.policy;
    if (wanted == "faithful" || wanted == "faithful-middle") {
        Policy found;
        found.name = wanted;
        found.windows = wanted == "faithful" ? "head" : "middle";
        found.count = 1;
        found.quirks = quirks_of(manifest.family);
        return found;
    }
    const auto colon = wanted.find(':');
    const std::string name = wanted.substr(0, colon);
    std::vector<std::string> names;
    for (const Policy& preset : presets()) {
        names.push_back(preset.name);
        if (preset.name != name) continue;
        if (colon == wanted.npos) return preset;
        const std::string digits = wanted.substr(colon + 1);
        const bool whole = !digits.empty() && digits.size() < 10 &&
                           digits.find_first_not_of("0123456789") == digits.npos;
        const std::int64_t count = whole ? std::stoll(digits) : 0;
        if (!preset.count || count < 1 || count > most_windows) continue;
        Policy found = preset;
        found.name = name + ":" + std::to_string(count);
        found.count = count;
        return found;
    }
    throw Error(Code::argument,
                "windows=" + shortly(wanted) + ": pass a Policy, 'default', or one of " +
                    joined(names, ", ") +
                    ", faithful, faithful-middle; those that count windows also as in 'spaced:3', "
                    "with 1 to " +
                    std::to_string(most_windows) + ".");
}

void check_followed(const Policy& policy, const AudioSpec& spec, bool gives_norm) {
    if (policy.pooling == "raw_mean" && !gives_norm)
        throw Error(Code::bundle,
                    "the policy '" + policy.name +
                        "' pools vectors before they are scaled, and the audio graph of this older "
                        "bundle does not give their norms. Export it again.");
    if (policy.windows == "fusion" && spec.long_clips != "fusion")
        throw Error(
            Code::bundle,
            "the policy '" + policy.name +
                "' hears long recordings by feature fusion, which this model does not have. "
                "Choose another.");
    if (spec.long_clips == "fusion")
        throw Error(Code::bundle,
                    "this model has feature fusion, which this runtime does not do: use Python's.");
    if (policy.quirks.resampler == "torchaudio" || policy.quirks.channels == "strung")
        throw Error(
            Code::bundle,
            "the policy '" + policy.name +
                "' imitates an original package, which this runtime does not do: use Python's.");
}

}  // namespace clap::inner
