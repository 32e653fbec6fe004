#include "pool.h"

#include <algorithm>
#include <cmath>

#include "../error.h"

namespace clap::inner {

namespace {

constexpr double norm_tolerance = 1e-2;

double norm(const float* row, std::size_t dim) {
    double sum = 0.0;
    for (std::size_t i = 0; i < dim; ++i) sum += static_cast<double>(row[i]) * row[i];
    return std::sqrt(sum);
}

}  // namespace

void check_heard(const float* row, std::size_t dim, bool unit) {
    const double length = norm(row, dim);
    if (std::isfinite(length) && (!unit || std::fabs(length - 1.0) <= norm_tolerance)) return;
    throw Error(Code::audio,
                "the model's embedding of this recording is not finite: its samples are beyond "
                "what the model can take, "
                "or the encoder overflows in half precision (export it as fp32).");
}

double mean_square(const std::vector<float>& row) {
    double sum = 0.0;
    for (float sample : row) sum += static_cast<double>(sample) * sample;
    return sum / static_cast<double>(row.size());
}

void Pool::add(const float* row, std::size_t dim, double energy) {
    sum_.resize(dim, 0.0);
    // A little for each, so that silence has an embedding too.
    const double weight = pooling_ == "energy" ? 1e-12 + energy : 1.0;
    for (std::size_t i = 0; i < dim; ++i) sum_[i] += weight * row[i];
    weight_ += weight;
}

std::vector<float> Pool::embedding() const {
    double square = 0.0;
    for (double value : sum_) square += value / weight_ * (value / weight_);
    // Opposite vectors may cancel out: no direction is left, and zero is similar to nothing.
    const double length = std::max(std::sqrt(square), 1e-12);
    std::vector<float> found;
    found.reserve(sum_.size());
    for (double value : sum_) found.push_back(static_cast<float>(value / weight_ / length));
    return found;
}

}  // namespace clap::inner
