#include "protobuf.h"

#include <algorithm>

#include "../plain/unicode.h"

namespace clap::inner::protobuf {

namespace {

std::int64_t number(std::string_view data, std::size_t& at) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        if (at >= data.size() || shift > 63) throw Malformed{"it is cut short"};
        const auto byte = static_cast<unsigned char>(data[at++]);
        value |= static_cast<std::uint64_t>(byte & 127) << shift;
        if (byte < 128) return static_cast<std::int64_t>(value);
    }
}

}  // namespace

void each(std::string_view data, const Fields& known, const char* where,
          const std::function<void(const Found&)>& look) {
    for (std::size_t at = 0; at < data.size();) {
        const std::int64_t tag = number(data, at);
        const int wire = static_cast<int>(tag & 7);
        const std::int64_t field = tag >> 3;
        const auto found = std::find_if(known.begin(), known.end(),
                                        [&](const Known& k) { return k.number == field; });
        if (found != known.end() && found->refused)
            throw Malformed{std::string("it holds ") + found->refused};
        if (found == known.end() || (wire != found->wire && wire != found->other))
            throw Malformed{std::string("its ") + where + " has a field (" + std::to_string(field) +
                            ", " + std::to_string(wire) + ") that is not known"};
        if (wire == varint) {
            const std::int64_t value = number(data, at);
            look({found->number, true, value, {}});
            continue;
        }
        const std::int64_t size = wire == bytes ? number(data, at) : wire == fixed32 ? 4 : 8;
        if (size < 0 || static_cast<std::uint64_t>(size) > data.size() - at)
            throw Malformed{"it is cut short"};
        look({found->number, false, 0, data.substr(at, static_cast<std::size_t>(size))});
        at += static_cast<std::size_t>(size);
    }
}

std::vector<std::int64_t> varints(std::string_view data, std::size_t most) {
    std::vector<std::int64_t> found;
    for (std::size_t at = 0; at < data.size();) {
        found.push_back(number(data, at));
        if (found.size() > most)
            throw Malformed{"a list of more than " + std::to_string(most) + " numbers is not read"};
    }
    return found;
}

std::size_t count(std::string_view data) {
    return static_cast<std::size_t>(std::count_if(
        data.begin(), data.end(), [](char c) { return static_cast<unsigned char>(c) < 128; }));
}

std::string text(std::string_view data, std::size_t most) {
    if (data.size() > most)
        throw Malformed{"a name of " + std::to_string(data.size()) + " bytes is too long"};
    try {
        unicode::decode(data);
    } catch (const unicode::Invalid&) {
        throw Malformed{"a name in it is not UTF-8"};
    }
    return std::string(data);
}

}  // namespace clap::inner::protobuf
