#include "classifier.h"

#include <algorithm>
#include <cmath>

#include "bundle/tagger_file.h"
#include "clips/pool.h"

namespace clap::inner {

Classifier::Classifier(std::shared_ptr<Encoder> encoder, LabelBank bank, const Ranking& ranking)
    : encoder_(std::move(encoder)), bank_(std::move(bank)) {
    bank_.check_fits(manifest().space_id, static_cast<std::size_t>(manifest().embedding_dim));
    ranking_ = ranking.of_labels(bank_.head);
}

Classifier Classifier::tagger(const std::string& path, const EncoderOptions& options,
                              std::optional<double> threshold, std::optional<std::int64_t> top_k) {
    TaggerFile file = TaggerFile::read(path);
    const Ranking ranking = Ranking::of(file.manifest, file.scores, threshold, std::nullopt,
                                        top_k ? top_k : file.top_k);
    auto encoder = std::make_shared<Encoder>(file.manifest, file.data, file.path, options);
    return Classifier(std::move(encoder), std::move(file.bank), ranking);
}

// Of one window: scaled to unit norm again, as the mean of several would be.
std::vector<float> Classifier::cosines(const std::vector<float>& row) const {
    Pool pool("mean");
    pool.add(row.data(), row.size(), 1.0);
    return similarities(bank_.embeddings, pool.embedding());
}

std::vector<Prediction> Classifier::rank(const std::vector<float>& row) const {
    check_heard(row.data(), row.size(), true);
    const auto found = cosines(row);
    return ranking_.rank(found, bank_.names, ranking_.scores(found));
}

std::vector<Prediction> Classifier::predict(const Source& source, std::string* warning) const {
    const Policy& policy = encoder_->policy();
    if (policy.pooling != "max") {
        const auto found = similarities(bank_.embeddings, encoder_->embed(source, warning));
        return ranking_.rank(found, bank_.names, ranking_.scores(found));
    }
    // The highest cosine and score of each label over the windows.
    std::vector<float> best(bank_.names.size(), -INFINITY);
    std::vector<double> scores(bank_.names.size(), -INFINITY);
    const std::string said = encoder_->windows(source, policy, false, [&](const Window& window) {
        const auto found = cosines(window.vector);
        const auto here = ranking_.scores(found);
        for (std::size_t i = 0; i < best.size(); ++i) {
            best[i] = std::max(best[i], found[i]);
            scores[i] = std::max(scores[i], here[i]);
        }
    });
    if (warning) *warning = said;
    return ranking_.rank(best, bank_.names, scores);
}

std::vector<Segment> Classifier::timeline(const Source& source, std::optional<double> hop) const {
    std::vector<Segment> found;
    const auto rate = static_cast<double>(manifest().audio.sample_rate);
    encoder_->windows(
        source, encoder_->policy().timeline(manifest().audio, hop), false,
        [&](const Window& window) {
            found.push_back({static_cast<double>(window.start) / rate,
                             static_cast<double>(window.end) / rate, rank(window.vector)});
        });
    return found;
}

}  // namespace clap::inner
