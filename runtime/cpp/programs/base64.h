// Bytes as base64 (RFC 4648).
#pragma once

#include <string>
#include <string_view>

namespace clap::inner {

inline std::string base64(std::string_view data) {
    static const char* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string found;
    found.reserve((data.size() + 2) / 3 * 4);
    for (std::size_t at = 0; at < data.size(); at += 3) {
        unsigned bits = 0;
        for (std::size_t i = 0; i < 3; ++i)
            bits =
                bits << 8 | (at + i < data.size() ? static_cast<unsigned char>(data[at + i]) : 0);
        for (std::size_t i = 0; i < 4; ++i)
            found.push_back(at + i > data.size() ? '=' : letters[bits >> (18 - 6 * i) & 63]);
    }
    return found;
}

}  // namespace clap::inner
