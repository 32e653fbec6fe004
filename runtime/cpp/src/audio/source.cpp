#include "source.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "../error.h"
#include "../plain/files.h"
#include "../plain/shown.h"
#include "levels.h"
#include "resampler.h"
#include "track.h"

namespace clap::inner {

namespace {

// Decoders differ by a frame or two of their own at the ends; a file that was cut misses more.
constexpr double missing_seconds = 0.2;
constexpr const char* unsupported =
    "it is corrupt, truncated or of an unsupported format. Check the file, or convert it to WAV or "
    "FLAC.";

// Gives its mono blocks, at the source's own rate; false from `hear` ends it.
using Own = std::function<bool(const std::vector<float>& block, std::int64_t rate)>;

void check_path(const std::string& path, const std::string& name) {
    struct stat found;
    if (::stat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) throw Error(Code::audio, name + " does not exist. Check the path.");
        throw Error(Code::audio, name + " cannot be read (" + std::strerror(errno) + ").");
    }
    if (S_ISDIR(found.st_mode)) throw Error(Code::audio, name + " is a folder, not an audio file.");
    if (!S_ISREG(found.st_mode))
        throw Error(Code::audio,
                    name + " is neither a file nor a pipe: read it and pass its bytes.");
    if (!found.st_size) throw Error(Code::audio, name + " is empty (0 bytes).");
}

// A file's blocks, part after part; what is wrong with it although it could be read, as clauses.
class Decoder {
  public:
    explicit Decoder(const Source& source)
        : name_(source.name()),
          file_((check_path(source.path, name_), source.path), Code::audio),
          levels_(name_) {
        structure_ = structure_of(file_);
        if (!structure_.warning.empty()) warnings.push_back(structure_.warning);
    }

    void run(const Own& own) {
        for (std::size_t i = 0; i < structure_.parts.size(); ++i) {
            try {
                if (!part(structure_.parts[i], own)) return;
            } catch (const Undecodable& problem) {
                if (!any_ && i + 1 == structure_.parts.size())
                    throw Error(Code::audio, name_ + " cannot be decoded (" + problem.reason +
                                                 "): " + unsupported);
                warnings.push_back("its part " + std::to_string(i + 1) + " of " +
                                   std::to_string(structure_.parts.size()) +
                                   " cannot be decoded (" + problem.reason + ")");
            }
        }
        levels_.check();
    }

    std::vector<std::string> warnings;

  private:
    bool part(const Part& part, const Own& own) {
        Track track(file_, part, name_);
        if (!rate_) rate_ = track.rate;
        Resampler resampler(track.rate, rate_);
        std::int64_t frames = 0;
        for (;;) {
            const std::vector<float> block = track.next();
            const auto count = block.size() / static_cast<std::size_t>(track.channels);
            if (!count) break;
            any_ = true;
            frames += static_cast<std::int64_t>(count);
            const auto mono = levels_.mono(block.data(), count, track.channels, track.integers);
            if (!own(resampler.push(mono.data(), mono.size()), rate_)) return false;
        }
        if (!own(resampler.finish(), rate_)) return false;
        std::string trouble = track.trouble;
        const double got = static_cast<double>(frames), rate = track.rate;
        if (track.stated >= 0 && got + missing_seconds * rate < static_cast<double>(track.stated))
            trouble += (trouble.empty() ? "" : "; ") + std::string("it states ") +
                       fixed(static_cast<double>(track.stated) / rate, 1) + " s, and " +
                       fixed(got / rate, 1) + " s could be decoded";
        if (!trouble.empty()) warnings.push_back(trouble);
        return true;
    }

    std::string name_;
    OpenFile file_;
    Levels levels_;
    Structure structure_;
    std::int64_t rate_ = 0;
    bool any_ = false;
};

void run_array(const Source& source, const Own& own) {
    const std::string name = "the " + source.name();
    check_rate(source.rate, "the recording");
    const std::size_t channels = std::max<std::size_t>(1, source.channels);
    Levels levels(name);
    const std::size_t count = source.samples.size() / channels;
    if (source.samples.size() && channels > most_channels)
        throw Error(
            Code::audio,
            name + " would have " + std::to_string(channels) +
                " channels (at most 32 are taken). Channels come first: transpose it with array.T");
    if (count) {
        const bool floats = source.type.compare(0, 5, "float") == 0;
        if (!floats && source.type != "int16" && source.type != "int32" && source.type != "uint8")
            throw Error(Code::audio, name + " has dtype " + source.type +
                                         ": pass floats in [-1, 1], or int16, int32 or uint8 PCM.");
        if (floats)
            check_peak(source.samples.data(), source.samples.size(), name + " of " + source.type);
        std::vector<float> frames(source.samples.size());
        for (std::size_t i = 0; i < count; ++i)
            for (std::size_t j = 0; j < channels; ++j)
                frames[i * channels + j] = source.samples[j * count + i];
        const auto mono = levels.mono(frames.data(), count, static_cast<int>(channels), false);
        if (!own(mono, static_cast<std::int64_t>(source.rate))) return;
    }
    levels.check();
}

}  // namespace

Source Source::file(std::string path) {
    Source found;
    found.path = std::move(path);
    return found;
}

Source Source::array(std::vector<float> samples, double rate) {
    Source found;
    found.samples = std::move(samples);
    found.rate = rate;
    return found;
}

std::string Source::name() const {
    if (!path.empty()) return "'" + printable(path) + "'";
    std::vector<std::int64_t> shape{static_cast<std::int64_t>(samples.size())};
    if (const auto rows = static_cast<std::int64_t>(channels)) shape = {rows, shape[0] / rows};
    return "array of shape " + tuple(shape);
}

Heard listen(const Source& source, std::int64_t target, double keep_from, const std::string& kind,
             const Hear& hear) {
    Heard heard;
    heard.rate = target;
    std::optional<Resampler> resampler;
    std::int64_t taken = 0, own_rate = 0;
    double seconds = 0.0;
    bool enough = false,
         failed = false;  // whoever hears wants no more; or raised an error of its own
    const auto give = [&](const std::vector<float>& block) {
        if (block.empty() || enough) return !enough;
        heard.samples += static_cast<std::int64_t>(block.size());
        failed = true;
        enough = !hear(block.data(), block.size());
        failed = false;
        return !enough;
    };
    const Own own = [&](const std::vector<float>& block, std::int64_t rate) {
        if (block.empty()) return true;
        if (!resampler) {
            own_rate = rate;
            if (!heard.rate) heard.rate = rate;
            resampler.emplace(rate, heard.rate, kind);
        }
        taken += static_cast<std::int64_t>(block.size());
        seconds = static_cast<double>(taken) / static_cast<double>(rate);
        return give(resampler->push(block.data(), block.size()));
    };
    std::vector<std::string> clauses;
    if (source.path.empty()) {
        run_array(source, own);
    } else {
        Decoder decoder(source);
        std::string broken;
        try {
            decoder.run(own);
        } catch (const Error& error) {
            if (failed || error.code != Code::audio || seconds < keep_from) throw;
            broken = error.what();
        }
        clauses = decoder.warnings;
        if (!broken.empty()) {
            while (broken.back() == '.') broken.pop_back();
            clauses.push_back("it breaks off (" + broken + ")");
        }
    }
    if (resampler && !enough) give(resampler->finish());
    if (!heard.samples) too_short(taken, own_rate, heard.rate);
    if (!clauses.empty())
        heard.warning = source.name() + " may not be whole: " + joined(clauses, "; ") + ". " +
                        fixed(seconds, 1) + " s of it are used.";
    return heard;
}

}  // namespace clap::inner
