// Zero-shot classification: recordings against a bank of labels.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "encoder.h"
#include "labels/bank.h"
#include "labels/scores.h"

namespace clap::inner {

// A stretch of a recording; times in seconds from its start.
struct Segment {
    double start, end;
    std::vector<Prediction> predictions;  // best first; empty for "none of these"
};

class Classifier {
  public:
    Classifier(std::shared_ptr<Encoder> encoder, LabelBank bank, const Ranking& ranking);
    // From one file, which `clap-export freeze` makes of a bundle and labels.
    static Classifier tagger(const std::string& path, const EncoderOptions& options,
                             std::optional<double> threshold, std::optional<std::int64_t> top_k);

    const Manifest& manifest() const { return encoder_->manifest(); }
    const Encoder& encoder() const { return *encoder_; }
    const LabelBank& bank() const { return bank_; }
    const std::string& scores() const { return ranking_.mode; }  // what they are

    std::vector<Prediction> predict(const Source& source, std::string* warning = nullptr) const;
    // Each window of a recording; `hop` in seconds, default the policy's.
    std::vector<Segment> timeline(const Source& source, std::optional<double> hop) const;
    // Predictions for one window's embedding of unit norm.
    std::vector<Prediction> rank(const std::vector<float>& row) const;

  private:
    std::vector<float> cosines(const std::vector<float>& row) const;

    std::shared_ptr<Encoder> encoder_;
    LabelBank bank_;
    Ranking ranking_;
};

}  // namespace clap::inner
