// A bundle on disk, opened and checked.
#pragma once

#include <string>

#include "manifest.h"

namespace clap::inner {

class Bundle {
  public:
    // Reads the manifest, and compares sizes and hashes of all files.
    explicit Bundle(const std::string& folder);

    const std::string& folder() const { return folder_; }
    const Manifest& manifest() const { return manifest_; }
    std::string path(const std::string& name) const;
    // A file that the manifest names; its size and hash are compared with what was read.
    std::string read(const std::string& name) const;
    // The same of a graph, which is looked through.
    std::string graph(const std::string& name) const;

  private:
    [[noreturn]] void damaged(const std::string& problems) const;
    void check_files() const;
    std::string folder_;
    Manifest manifest_;
};

}  // namespace clap::inner
