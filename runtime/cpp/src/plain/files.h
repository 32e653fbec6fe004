// Files as they are read: once, whole, and never a pipe or a device.
#pragma once

#include <cstdint>
#include <string>

#include "../error.h"

namespace clap::inner {

// A path as Python's Path writes it: no double slashes, no dots alone, no slash at the end.
std::string tidy(const std::string& path);
std::string joined_path(const std::string& folder, const std::string& name);
std::string file_name(const std::string& path);  // without its folder

bool is_regular(const std::string& path);
bool exists(const std::string& path);  // also a link that leads nowhere

// A file's content. `missing` is the sentence for a file that is not there.
std::string read_file(const std::string& path, std::uint64_t most, Code code,
                      const std::string& missing = "");

// An open file, closed at the end of its life.
class OpenFile {
  public:
    OpenFile(const std::string& path, Code code, const std::string& missing = "");
    ~OpenFile();
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    std::uint64_t size() const;
    // Bytes at a place; fewer at the end of the file.
    std::string at(std::uint64_t offset, std::uint64_t count) const;
    int descriptor() const { return descriptor_; }

  private:
    std::string path_;
    Code code_;
    int descriptor_;
};

}  // namespace clap::inner
