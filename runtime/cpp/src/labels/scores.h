// Cosines to scores, and scores to ranked predictions.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../bundle/manifest.h"
#include "../plain/matrix.h"
#include "head.h"

namespace clap::inner {

struct Prediction {
    std::string label;
    double score;       // what the mode says: share of the softmax, cosine, or probability
    double similarity;  // cosine between the recording's and the label's embedding
    std::size_t place;  // of the label
};

struct Ranking {
    std::optional<std::string> asked;  // the mode that was asked for
    std::string mode = "softmax";      // or "cosine", "multilabel"
    double logit_scale = 1.0;
    std::optional<Calibration> calibration;
    std::optional<double> threshold, min_similarity;
    std::optional<std::int64_t> top_k;
    std::shared_ptr<const Head> head;  // whose scales and biases are used; or null

    // For a bundle, to be completed by `of_labels`. Without a mode it is softmax, and of a head its
    // own.
    static Ranking of(const Manifest& manifest, const std::optional<std::string>& mode,
                      std::optional<double> threshold, std::optional<double> min_similarity,
                      std::optional<std::int64_t> top_k);
    // The same for the labels that are looked up. Throws where they cannot give what was asked for.
    Ranking of_labels(const std::shared_ptr<const Head>& theirs) const;

    std::vector<double> scores(const std::vector<float>& similarities) const;
    // Best first; equal ones by their cosine, then in the order of the labels.
    std::vector<Prediction> rank(const std::vector<float>& similarities,
                                 const std::vector<std::string>& names,
                                 const std::vector<double>& scores) const;

  private:
    std::vector<double> logits(const std::vector<float>& cosines) const;
};

// Cosines of unit vectors to one.
std::vector<float> similarities(const Matrix& bank, const std::vector<float>& embedding);
void check_top_k(const std::optional<std::int64_t>& top_k);

}  // namespace clap::inner
