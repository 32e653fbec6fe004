// Protobuf's wire format, read more strictly than protobuf does: what is not known is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace clap::inner::protobuf {

enum Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// Why a file is refused.
struct Malformed {
    std::string said;
};

// A field of a message: a number for a varint, else a view of its bytes.
struct Found {
    int number;
    bool is_number;
    std::int64_t whole;
    std::string_view data;
};

// A field that a message may have: how it is written; or, if it may not be there, what it is.
struct Known {
    int number;
    Wire wire;
    Wire other;           // another way in which it may be written, or the same
    const char* refused;  // null where it is allowed
    Known(int number, Wire wire) : number(number), wire(wire), other(wire), refused(nullptr) {}
    Known(int number, Wire wire, Wire other)
        : number(number), wire(wire), other(other), refused(nullptr) {}
    Known(int number, const char* refused)
        : number(number), wire(varint), other(varint), refused(refused) {}
};
using Fields = std::vector<Known>;

void each(std::string_view data, const Fields& known, const char* where,
          const std::function<void(const Found&)>& look);
std::vector<std::int64_t> varints(std::string_view data, std::size_t most);
std::size_t count(std::string_view data);  // of varints
std::string text(std::string_view data, std::size_t most = 4096);

}  // namespace clap::inner::protobuf
