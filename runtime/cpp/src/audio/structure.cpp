#include "structure.h"

#include <algorithm>
#include <optional>

namespace clap::inner {

namespace {

constexpr std::uint64_t window = 1 << 20;
constexpr std::uint64_t stale =
    1 << 16;  // bytes behind the stated end that are taken for more samples
// Sizes that writers to a pipe put where they cannot know: ffmpeg all ones, sox a bit under 2 GiB.
constexpr std::uint64_t unknown_size = 0x7FFFF000;
constexpr int most_chunks = 10000;
constexpr std::uint64_t most_format = 4096;  // bytes of the chunk that says what samples are

struct Kind {
    bool big_endian;
    std::string samples;  // name of the chunk that holds them
};

std::uint64_t number(const std::string& data, std::size_t at, bool big_endian) {
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < 4; ++i)
        found = found << 8 | static_cast<unsigned char>(data[at + (big_endian ? i : 3 - i)]);
    return found;
}

void put(std::string& data, std::size_t at, std::uint64_t value, bool big_endian) {
    for (std::size_t i = 0; i < 4; ++i, value >>= 8)
        data[at + (big_endian ? 3 - i : i)] = static_cast<char>(value & 255);
}

// Where a file begins behind its ID3v2 tags.
std::uint64_t behind_tags(const OpenFile& file) {
    std::uint64_t start = 0;
    for (;;) {
        const std::string tag = file.at(start, 10);
        if (tag.size() < 10 || tag.compare(0, 3, "ID3") != 0) return start;
        const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(tag[i]); };
        if (byte(3) == 0xFF || byte(4) == 0xFF) return start;
        if ((byte(6) | byte(7) | byte(8) | byte(9)) & 0x80) return start;
        const std::uint64_t size =
            static_cast<std::uint64_t>(byte(6)) << 21 | byte(7) << 14 | byte(8) << 7 | byte(9);
        const std::uint64_t behind = start + 10 + size + (byte(5) & 0x10 ? 10 : 0);
        if (behind >= file.size()) return start;
        start = behind;
    }
}

// Whether chunks follow up to the end; and where another file begins, if one does.
std::pair<bool, std::optional<std::uint64_t>> chain(const OpenFile& file, std::uint64_t at,
                                                    const Kind& kind, const std::string& first) {
    for (int i = 0; i < most_chunks; ++i) {
        if (at + 1 >= file.size()) break;
        const std::string header = file.at(at, 8), form = file.at(at + 8, 4);
        if (header.substr(0, 4) == first && (form == "WAVE" || form == "AIFF" || form == "AIFC"))
            return {true, at};
        if (header.substr(0, 3) == "TAG" || header.substr(0, 3) == "ID3" || header == "APETAGEX")
            return {true, std::nullopt};
        const auto plain = [](char c) { return c >= 0x20 && c < 0x7F; };
        if (header.size() < 8 || !std::all_of(header.begin(), header.begin() + 4, plain))
            return {false, std::nullopt};
        const std::uint64_t size = number(header, 4, kind.big_endian);
        at += 8 + size + size % 2;
        if (at > file.size() + 1) return {false, std::nullopt};
    }
    return {true, std::nullopt};
}

// A header of a WAV with nothing but what its samples are, and how many bytes.
std::string bare_header(const std::string& mark, const std::string& format, std::uint64_t size,
                        bool big_endian) {
    std::string head = mark + "0000WAVE" + format + "data0000";
    put(head, 4, std::min<std::uint64_t>(head.size() - 8 + size, 0xFFFFFFFF), big_endian);
    put(head, head.size() - 4, size, big_endian);
    return head;
}

// A file of chunks: itself, where the next one begins that was joined to it, and a warning.
struct Walked {
    Part part;
    std::optional<std::uint64_t> following;
    std::string warning;
};

Walked walk(const OpenFile& file, std::uint64_t start, const Kind& kind) {
    const std::uint64_t total = file.size();
    std::uint64_t at = start + 12;
    std::string header, format;
    bool plain = true;  // there are no chunks but those that samples need
    int looked = 0;
    for (; looked < most_chunks; ++looked) {
        header = file.at(at, 8);
        if (header.size() < 8 || header.substr(0, 4) == kind.samples) break;
        const std::uint64_t size = number(header, 4, kind.big_endian);
        if (header.substr(0, 4) == "fmt " && format.empty() && size < most_format)
            format = file.at(at, 8 + size + size % 2);
        else
            plain = plain && header.substr(0, 4) == "fact";
        at += 8 + size + size % 2;
    }
    if (looked == most_chunks) header.clear();
    const std::uint64_t body = at + 8;
    if (header.size() < 8 || body - start > window) return {{start, total, ""}, std::nullopt, ""};
    const std::uint64_t left = total > body ? total - body : 0,
                        size = number(header, 4, kind.big_endian);
    if (size > left) {
        std::string warning;
        if (size < unknown_size)
            warning = "its header states " + std::to_string(size) + " bytes of samples and " +
                      std::to_string(left) + " are there";
        return {{start, total, ""}, std::nullopt, warning};
    }
    const std::string first = file.at(start, 4);
    for (const std::uint64_t behind : {body + size + size % 2, body + size}) {
        const auto [plausible, following] = chain(file, behind, kind, first);
        if (!plausible) continue;
        Part part{start, following.value_or(total), ""};
        // libsndfile 1.2.0 loses its way behind chunks of odd lengths: it is given none.
        if (!plain && !format.empty())
            part = {body, part.end, bare_header(first, format, size, kind.big_endian)};
        return {part, following, ""};
    }
    if (size && left - size < stale) return {{start, total, ""}, std::nullopt, ""};
    std::string head = file.at(start, body - start);
    put(head, 4, std::min<std::uint64_t>(total - start - 8, 0xFFFFFFFF), kind.big_endian);
    put(head, head.size() - 4, std::min<std::uint64_t>(left, 0xFFFFFFFF), kind.big_endian);
    return {{body, total, head},
            std::nullopt,
            "its header was not completed: it states " + std::to_string(size) +
                " bytes of samples, and all " + std::to_string(left) + " were read"};
}

std::optional<Kind> kind_of(const std::string& magic) {
    if (magic.size() < 12) return std::nullopt;
    const std::string mark = magic.substr(0, 4), form = magic.substr(8, 4);
    if (form == "WAVE" && mark == "RIFF") return Kind{false, "data"};
    if (form == "WAVE" && mark == "RIFX") return Kind{true, "data"};
    if (mark == "FORM" && (form == "AIFF" || form == "AIFC")) return Kind{true, "SSND"};
    if (mark == "FORM" && (form == "8SVX" || form == "16SV")) return Kind{true, "BODY"};
    return std::nullopt;
}

}  // namespace

Structure structure_of(const OpenFile& file) {
    std::optional<std::uint64_t> following = behind_tags(file);
    const auto kind = kind_of(file.at(*following, 12));
    if (!kind) return {{{*following, file.size(), ""}}, ""};
    Structure found;
    while (following) {
        Walked walked = walk(file, *following, *kind);
        found.parts.push_back(std::move(walked.part));
        following = walked.following;
        if (found.warning.empty()) found.warning = walked.warning;
    }
    return found;
}

}  // namespace clap::inner
