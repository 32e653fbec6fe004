// Any bytes as a label bank: refused in a sentence, or names with a vector of unit norm each.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "error.h"
#include "labels/bank.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace clap::inner;
    static const int file = ::memfd_create("bank", 0);
    static const std::string path = "/proc/self/fd/" + std::to_string(file);
    if (::ftruncate(file, 0) != 0 || ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size))
        std::abort();
    try {
        const LabelBank found = LabelBank::load(path);
        if (found.names.empty() || found.embeddings.rows != found.names.size()) std::abort();
    } catch (const Error&) {
    }
    return 0;
}
