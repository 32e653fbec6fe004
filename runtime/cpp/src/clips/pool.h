// From the embeddings of windows to that of a recording.
#pragma once

#include <string>
#include <vector>

namespace clap::inner {

class Pool {
  public:
    // `pooling`: "mean", "raw_mean" or "energy".
    explicit Pool(std::string pooling) : pooling_(std::move(pooling)) {}

    // Takes the embedding of a window; `energy` is its mean square.
    void add(const float* row, std::size_t dim, double energy);
    std::vector<float> embedding() const;  // of unit norm
    bool raw() const { return pooling_ == "raw_mean"; }

  private:
    std::string pooling_;
    std::vector<double> sum_;
    double weight_ = 0.0;
};

double mean_square(const std::vector<float>& row);
// Throws where a window's embedding is not finite or, if asked for, not of unit norm.
void check_heard(const float* row, std::size_t dim, bool unit);

}  // namespace clap::inner
