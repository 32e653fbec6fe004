// Any bytes as a manifest: an error of ours, or a manifest whose numbers lie within their bounds.

#include "bundle/manifest.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace clap::inner;
    try {
        const auto found =
            Manifest::parse("m", std::string_view(reinterpret_cast<const char*>(data), size));
        const AudioSpec& audio = found.audio;
        if (audio.hop_samples < 1 || audio.window_samples > 1 << 24) std::abort();
        if (found.policy.hop_samples(audio) < 1) std::abort();
        if (found.policy.windows != "all" && found.policy.windows != "fusion")
            if (found.policy.starts(audio, 1 << 20).empty()) std::abort();
        found.policy.clip_space_id(found.space_id, audio);
    } catch (const Error&) {
    }
    return 0;
}
