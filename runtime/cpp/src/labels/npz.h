// The archive of a label bank: two arrays in an `.npz`, stored or deflated, read without pickle.
#pragma once

#include <cstdint>
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

    std::string shown_shape() const;  // as Python shows a tuple
};

// The file is cut off, or something else altogether.
struct NotAnArchive {
    std::string said;
};

struct Archive {
    bool has_embeddings = false, has_meta = false;
    Array embeddings, meta;
    std::vector<std::string> problems;
};

// Throws NotAnArchive, and errors of the file.
Archive read_npz(const OpenFile& file);

}  // namespace clap::inner
