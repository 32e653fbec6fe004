#include "track.h"

#include <sndfile.h>

#include <algorithm>
#include <cstring>

#include "../error.h"
#include "levels.h"

namespace clap::inner {

namespace {

constexpr std::size_t block = 1 << 16;  // values that are decoded at once, of all channels together
constexpr std::int64_t unknown_frames = std::int64_t{1} << 62;

std::string said(const char* text) {
    std::string found = text ? text : "";
    while (!found.empty() && found.back() == '.') found.pop_back();
    if (found.compare(0, 19, "File does not exist") == 0) return "Format not recognised";
    return found.empty() ? "no reason given" : found;
}

}  // namespace

struct Track::View {
    const OpenFile& file;
    const Part part;
    std::int64_t at = 0;

    std::int64_t size() const {
        return static_cast<std::int64_t>(part.head.size() + part.end - part.start);
    }

    std::int64_t read(char* to, std::int64_t count) {
        const std::int64_t wanted = std::max<std::int64_t>(0, std::min(count, size() - at));
        std::int64_t got = 0;
        const auto head = static_cast<std::int64_t>(part.head.size());
        if (at < head && wanted) {
            got = std::min(wanted, head - at);
            std::memcpy(to, part.head.data() + at, static_cast<std::size_t>(got));
        }
        if (got < wanted) {
            try {
                const std::string data =
                    file.at(part.start + static_cast<std::uint64_t>(at + got - head),
                            static_cast<std::uint64_t>(wanted - got));
                std::memcpy(to + got, data.data(), data.size());
                got += static_cast<std::int64_t>(data.size());
            } catch (const Error&) {  // C code is between; what is missing is told as a short file
            }
        }
        at += got;
        return got;
    }
};

Track::Track(const OpenFile& file, const Part& part, const std::string& name)
    : view_(new View{file, part}) {
    SF_VIRTUAL_IO io;
    io.get_filelen = [](void* user) -> sf_count_t { return static_cast<View*>(user)->size(); };
    io.seek = [](sf_count_t offset, int whence, void* user) -> sf_count_t {
        auto* view = static_cast<View*>(user);
        const sf_count_t base = whence == SEEK_SET   ? 0
                                : whence == SEEK_CUR ? view->at
                                                     : view->size();
        const sf_count_t farthest = sf_count_t{1} << 61;
        return view->at = std::max<sf_count_t>(
                   0, std::min(base + std::max(-farthest, std::min(offset, farthest)), farthest));
    };
    io.read = [](void* to, sf_count_t count, void* user) -> sf_count_t {
        return static_cast<View*>(user)->read(static_cast<char*>(to), count);
    };
    io.write = [](const void*, sf_count_t, void*) -> sf_count_t { return 0; };
    io.tell = [](void* user) -> sf_count_t { return static_cast<View*>(user)->at; };
    SF_INFO info{};
    file_ = sf_open_virtual(&io, SFM_READ, &info, view_.get());
    if (!file_) throw Undecodable{said(sf_strerror(nullptr))};
    try {
        check_rate(info.samplerate, name);
        if (info.channels > most_channels)
            throw Error(
                Code::audio,
                name + " has " + std::to_string(info.channels) + " channels; at most " +
                    std::to_string(most_channels) +
                    " are taken. Mix it down, or pass the channels that are wanted as an array.");
    } catch (...) {
        sf_close(file_);
        throw;
    }
    rate = info.samplerate;
    channels = info.channels;
    integers = (info.format & SF_FORMAT_SUBMASK) == SF_FORMAT_PCM_16;
    if (part.head.empty() && info.frames < unknown_frames) stated = info.frames;
}

Track::~Track() {
    if (file_) sf_close(file_);
}

std::vector<float> Track::next() {
    if (ended_) return {};
    const std::size_t size = std::max<std::size_t>(1, block / static_cast<std::size_t>(channels));
    std::vector<float> found(size * static_cast<std::size_t>(channels));
    const sf_count_t count = sf_readf_float(file_, found.data(), static_cast<sf_count_t>(size));
    if (sf_error(file_) != SF_ERR_NO_ERROR) {
        const std::string why = said(sf_strerror(file_));
        if (frames_ + std::max<sf_count_t>(0, count) == 0) throw Undecodable{why};
        trouble = "it cannot be decoded to its end (" + why + ")";
        ended_ = true;
    }
    frames_ += std::max<sf_count_t>(0, count);
    if (count <= 0) ended_ = true;
    found.resize(static_cast<std::size_t>(std::max<sf_count_t>(0, count)) *
                 static_cast<std::size_t>(channels));
    return found;
}

}  // namespace clap::inner
