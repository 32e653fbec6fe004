// Rows of floats.
#pragma once

#include <cstddef>
#include <vector>

namespace clap::inner {

struct Matrix {
    std::size_t rows = 0, columns = 0;
    std::vector<float> data;

    Matrix() = default;
    Matrix(std::size_t rows, std::size_t columns)
        : rows(rows), columns(columns), data(rows * columns) {}
    float* row(std::size_t i) { return data.data() + i * columns; }
    const float* row(std::size_t i) const { return data.data() + i * columns; }
    void add(const float* from) {
        data.insert(data.end(), from, from + columns);
        ++rows;
    }
};

}  // namespace clap::inner
