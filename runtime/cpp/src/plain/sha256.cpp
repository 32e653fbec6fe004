#include "sha256.h"

#include <algorithm>
#include <cstring>

namespace clap::inner {

namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<std::uint32_t, 64> constants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t turned(std::uint32_t word, int by) {
    return word >> by | word << (32 - by);
}

}  // namespace

void Sha256::add(std::string_view data) {
    auto bytes = reinterpret_cast<const unsigned char*>(data.data());
    std::size_t left = data.size(), used = count_ % 64;
    count_ += left;
    if (used) {
        const std::size_t taken = std::min(left, 64 - used);
        std::memcpy(rest_.data() + used, bytes, taken);
        bytes += taken;
        left -= taken;
        if (used + taken < 64) return;
        block(rest_.data());
    }
    for (; left >= 64; bytes += 64, left -= 64) block(bytes);
    if (left) std::memcpy(rest_.data(), bytes, left);
}

std::string Sha256::hex() {
    const std::uint64_t bits = count_ * 8;
    std::string end(1, '\x80');
    end.append((119 - count_ % 64) % 64, '\0');
    for (int shift = 56; shift >= 0; shift -= 8) end.push_back(static_cast<char>(bits >> shift));
    add(end);
    std::string found;
    for (std::uint32_t word : state_)
        for (int shift = 28; shift >= 0; shift -= 4)
            found.push_back("0123456789abcdef"[word >> shift & 15]);
    return found;
}

void Sha256::block(const unsigned char* data) {
    std::array<std::uint32_t, 64> words;
    for (std::size_t i = 0; i < 16; ++i, data += 4)
        words[i] = static_cast<std::uint32_t>(data[0]) << 24 |
                   static_cast<std::uint32_t>(data[1]) << 16 |
                   static_cast<std::uint32_t>(data[2]) << 8 | data[3];
    for (std::size_t i = 16; i < 64; ++i) {
        const std::uint32_t a = words[i - 15], b = words[i - 2];
        words[i] = words[i - 16] + words[i - 7] + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) +
                   (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (std::size_t i = 0; i < 64; ++i) {
        const std::uint32_t one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) +
                                  ((e & f) ^ (~e & g)) + constants[i] + words[i];
        const std::uint32_t two =
            (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + one;
        d = c;
        c = b;
        b = a;
        a = one + two;
    }
    const std::array<std::uint32_t, 8> found{a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; ++i) state_[i] += found[i];
}

std::string sha256(std::string_view data) {
    Sha256 digest;
    digest.add(data);
    return digest.hex();
}

}  // namespace clap::inner
