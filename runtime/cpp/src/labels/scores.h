// Cosines to scores, and scores to ranked predictions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../bundle/manifest.h"
#include "../plain/matrix.h"

namespace clap::inner {

struct Prediction {
    std::string label;
    double score;       // what the mode says: share of the softmax, cosine, or probability
    double similarity;  // cosine between the recording's and the label's embedding
};

struct Ranking {
    std::string mode = "softmax";  // or "cosine", "multilabel"
    double logit_scale = 1.0;
    std::optional<Calibration> calibration;
    std::optional<double> threshold, min_similarity;
    std::optional<std::int64_t> top_k;

    static Ranking of(const Manifest& manifest, const std::string& mode,
                      std::optional<double> threshold, std::optional<double> min_similarity,
                      std::optional<std::int64_t> top_k);

    std::vector<double> scores(const std::vector<float>& similarities) const;
    // Best first; equal ones by their cosine, then in the order of the labels.
    std::vector<Prediction> rank(const std::vector<float>& similarities,
                                 const std::vector<std::string>& names,
                                 const std::vector<double>& scores) const;
};

// Cosines of unit vectors to one.
std::vector<float> similarities(const Matrix& bank, const std::vector<float>& embedding);
void check_top_k(const std::optional<std::int64_t>& top_k);

}  // namespace clap::inner
