#include "scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../plain/shown.h"

namespace clap::inner {

namespace {

std::optional<double> bound(const char* name, std::optional<double> value) {
    if (value && !std::isfinite(*value))
        throw Error(Code::argument,
                    std::string(name) + "=" + to_text(*value) + ": pass a finite number, or None.");
    return value;
}

}  // namespace

void check_top_k(const std::optional<std::int64_t>& top_k) {
    if (top_k && *top_k < 1)
        throw Error(Code::argument,
                    "top_k=" + std::to_string(*top_k) + ": pass at least 1, or None.");
}

Ranking Ranking::of(const Manifest& manifest, const std::optional<std::string>& asked,
                    std::optional<double> threshold, std::optional<double> min_similarity,
                    std::optional<std::int64_t> top_k) {
    const std::string mode = asked.value_or("softmax");
    if (mode != "softmax" && mode != "cosine" && mode != "multilabel")
        throw Error(Code::argument,
                    "scores=" + shortly(mode) + ": choose from softmax, cosine, multilabel.");
    Ranking found;
    found.asked = asked;
    found.mode = mode;
    found.logit_scale = manifest.logit_scale;
    found.calibration = manifest.calibration;
    found.threshold = bound("threshold", threshold);
    found.min_similarity = bound("min_similarity", min_similarity);
    check_top_k(top_k);
    found.top_k = top_k;
    return found;
}

Ranking Ranking::of_labels(const std::shared_ptr<const Head>& theirs) const {
    Ranking found = *this;
    found.head = theirs;
    if (!theirs) {
        if (mode == "multilabel" && !calibration)
            throw Error(Code::argument,
                        "scores='multilabel' was asked for, but this bundle has no calibration: "
                        "use scores='cosine' with a threshold.");
        return found;
    }
    if (asked && *asked != theirs->scores)
        throw Error(Code::argument, "scores='" + *asked +
                                        "' was asked for, but the labels are a head, whose scores "
                                        "are '" +
                                        theirs->scores + "': leave the choice to it.");
    found.mode = theirs->scores;
    return found;
}

std::vector<double> Ranking::logits(const std::vector<float>& cosines) const {
    if (head) return head->logits(cosines);
    std::vector<double> found(cosines.begin(), cosines.end());
    for (double& value : found)
        value = mode == "multilabel" && calibration ? calibration->scale * value + calibration->bias
                                                    : value * logit_scale;
    return found;
}

std::vector<double> Ranking::scores(const std::vector<float>& cosines) const {
    if (mode == "cosine") return {cosines.begin(), cosines.end()};
    std::vector<double> found = logits(cosines);
    if (mode == "multilabel") {
        // The sigmoid as a tanh, which does not overflow.
        for (double& value : found) value = 0.5 * (1.0 + std::tanh(0.5 * value));
        return found;
    }
    double most = -INFINITY, sum = 0.0;
    for (double value : found) most = std::max(most, value);
    for (double& value : found) sum += value = std::exp(value - most);
    for (double& value : found) value /= sum;
    return found;
}

std::vector<Prediction> Ranking::rank(const std::vector<float>& cosines,
                                      const std::vector<std::string>& names,
                                      const std::vector<double>& scores) const {
    std::vector<std::size_t> order(names.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    // A saturated softmax has equal scores: then what is closer decides, then the label's place.
    const std::vector<double> close =
        head ? head->logits(cosines) : std::vector<double>(cosines.begin(), cosines.end());
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b] : close[a] > close[b];
    });
    std::vector<Prediction> found;
    for (std::size_t i : order) {
        if (top_k && found.size() >= static_cast<std::size_t>(*top_k)) break;
        if (threshold && scores[i] < *threshold) continue;
        if (min_similarity && static_cast<double>(cosines[i]) < *min_similarity) continue;
        found.push_back({names[i], scores[i], static_cast<double>(cosines[i]), i});
    }
    return found;
}

std::vector<float> similarities(const Matrix& bank, const std::vector<float>& embedding) {
    std::vector<float> found(bank.rows);
    for (std::size_t i = 0; i < bank.rows; ++i) {
        const float* row = bank.row(i);
        double sum = 0.0;
        for (std::size_t j = 0; j < bank.columns; ++j)
            sum += static_cast<double>(row[j]) * embedding[j];
        found[i] = static_cast<float>(sum);
    }
    return found;
}

}  // namespace clap::inner
