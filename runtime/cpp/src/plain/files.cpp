#include "files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace clap::inner {

std::string tidy(const std::string& path) {
    const bool absolute = !path.empty() && path[0] == '/';
    std::string found;
    for (std::size_t at = 0; at <= path.size();) {
        const std::size_t end = std::min(path.find('/', at), path.size());
        const std::string part = path.substr(at, end - at);
        if (!part.empty() && part != ".") found += (found.empty() ? "" : "/") + part;
        at = end + 1;
    }
    if (absolute) return "/" + found;
    return found.empty() ? "." : found;
}

std::string joined_path(const std::string& folder, const std::string& name) {
    return folder == "." ? tidy(name) : tidy(folder + "/" + name);
}

std::string file_name(const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == path.npos ? path : path.substr(slash + 1);
}

bool is_regular(const std::string& path) {
    struct stat found;
    return ::stat(path.c_str(), &found) == 0 && S_ISREG(found.st_mode);
}

bool exists(const std::string& path) {
    struct stat found;
    return ::lstat(path.c_str(), &found) == 0;
}

OpenFile::OpenFile(const std::string& path, Code code, const std::string& missing)
    : path_(path), code_(code), descriptor_(-1) {
    // O_NONBLOCK: else a pipe without a writer is waited for.
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor_ < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            throw Error(code, missing.empty() ? "'" + path + "' does not exist." : missing);
        throw Error(code, "'" + path + "' cannot be read: " + std::strerror(errno) + ".");
    }
    struct stat found;
    if (::fstat(descriptor_, &found) != 0 || !S_ISREG(found.st_mode)) {
        ::close(descriptor_);
        const std::string kind = S_ISDIR(found.st_mode) ? "folder" : "device or a pipe";
        std::string sentence = "'" + path + "' is a " + kind + ", not a file.";
        if (!missing.empty()) sentence += " " + missing;
        throw Error(code, sentence);
    }
}

OpenFile::~OpenFile() {
    ::close(descriptor_);
}

std::uint64_t OpenFile::size() const {
    struct stat found;
    return ::fstat(descriptor_, &found) == 0 ? static_cast<std::uint64_t>(found.st_size) : 0;
}

std::string OpenFile::at(std::uint64_t offset, std::uint64_t count) const {
    const std::uint64_t total = size();
    if (offset >= total) return "";
    std::string data(static_cast<std::size_t>(std::min(count, total - offset)), '\0');
    std::size_t got = 0;
    while (got < data.size()) {
        const auto n = ::pread(descriptor_, data.data() + got, data.size() - got,
                               static_cast<off_t>(offset + got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            throw Error(code_, "'" + path_ + "' cannot be read: " + std::strerror(errno) + ".");
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    data.resize(got);
    return data;
}

std::string read_file(const std::string& path, std::uint64_t most, Code code,
                      const std::string& missing) {
    const OpenFile file(path, code, missing);
    const std::uint64_t size = file.size();
    if (size > most)
        throw Error(code, "'" + path + "' has " + std::to_string(size) + " bytes; at most " +
                              std::to_string(most) + " are read.");
    std::string data = file.at(0, size);
    if (data.size() != size || file.size() != size)
        throw Error(code, "'" + path + "' changed while it was read: try again.");
    return data;
}

}  // namespace clap::inner
