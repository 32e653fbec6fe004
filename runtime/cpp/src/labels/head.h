// A head: labels that were learned from examples. To the cosines it is a label bank; a scale and a
// bias for each label, calibrated on recordings that the fit had not seen, make them scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../plain/matrix.h"
#include "../plain/schema.h"

namespace clap::inner {

// Of any shape: what it should be is for Head::problems to say.
struct Floats {
    std::vector<std::int64_t> shape;
    std::vector<float> data;
};

struct Head {
    std::string scores;  // "softmax" or "multilabel"
    Floats scales, biases;
    std::string sha256;                   // of the bytes of its embeddings, scales and biases
    std::size_t counted = 0;              // labels whose recordings were counted
    std::optional<std::size_t> measured;  // that it was tried on, if it was

    // What is said of a head; its numbers are yet to come.
    static Head read(const Field& field);

    std::vector<double> logits(const std::vector<float>& cosines) const;
    // What does not fit together, or nothing.
    std::string problem(const Matrix& embeddings) const;
};

}  // namespace clap::inner
