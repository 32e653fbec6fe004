// The archive of a label bank: two arrays in an `.npz`, stored or deflated, read without pickle; of
// a head four.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "../plain/files.h"

namespace clap::inner {

struct Array {
    std::string type;  // numpy's name: "float32", "uint8", …
    std::string code;  // numpy's code: "<f4", "|u1", …
    std::vector<std::int64_t> shape;
    bool fortran = false;
    std::string data;  // as it lies there
};

// The file is cut off, or something else altogether.
struct NotAnArchive {
    std::string said;
};

struct Archive {
    std::map<std::string, Array> arrays;  // those of their type: float32, and `meta` of uint8
    bool is_head = false;                 // a head's own arrays are there, whatever is in them
    std::vector<std::string> problems;

    const Array* find(const std::string& name) const;
};

// Throws NotAnArchive, and errors of the file.
Archive read_npz(const OpenFile& file);

}  // namespace clap::inner
