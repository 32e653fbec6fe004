#include "head.h"

#include <algorithm>
#include <cmath>

#include "../plain/sha256.h"
#include "../plain/shown.h"

namespace clap::inner {

namespace {

constexpr std::size_t most_name = 255, most_digest = 64;
constexpr double most_count = 9007199254740992.0;  // 2^53
constexpr double most_number = 1e30;

// What a head gave to recordings that it was not fitted on; returns of how many labels it is said.
std::optional<std::size_t> read_figures(const Field& field) {
    if (field.missing() || field.null()) return std::nullopt;
    const Table table(field, {"folds", "grouped_by", "accuracy", "average_precision", "of_labels",
                              "log_loss", "uncalibrated_log_loss", "calibration_error"});
    if (!table.is_table()) return std::nullopt;
    std::size_t labels = 0;
    table["folds"].whole(2, 1000);
    table["grouped_by"].text(most_name);
    for (const char* share : {"accuracy", "average_precision"}) table[share].number(0, 1);
    table["of_labels"].each([&](const Field& one) {
        one.number(0, 1);
        ++labels;
    });
    for (const char* loss : {"log_loss", "uncalibrated_log_loss"})
        table[loss].number(0, most_number);
    table["calibration_error"].number(0, 1);
    return labels;
}

std::string_view bytes(const std::vector<float>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

Head Head::read(const Field& field) {
    Head found;
    const Table table(field, {"scores", "clip_space_id", "recordings", "of_labels", "penalty",
                              "calibration", "figures", "tools", "sha256"});
    if (!table.is_table()) return found;
    found.scores = table["scores"].choice({"softmax", "multilabel"});
    table["clip_space_id"].text(most_name);
    table["recordings"].whole(0, most_count);
    table["of_labels"].each([&](const Field& count) {
        count.whole(0, most_count);
        ++found.counted;
    });
    table["penalty"].number(0, most_number);
    table["calibration"].choice({"temperature", "platt", "none"});
    found.measured = read_figures(table["figures"]);
    table["tools"].entries([](const std::string&, const Field& tool) { tool.text(most_name); });
    found.sha256 = table["sha256"].text(most_digest);
    return found;
}

std::vector<double> Head::logits(const std::vector<float>& cosines) const {
    std::vector<double> found(cosines.size());
    for (std::size_t i = 0; i < found.size(); ++i)
        found[i] = static_cast<double>(scales.data[i]) * cosines[i] + biases.data[i];
    return found;
}

std::string Head::problem(const Matrix& embeddings) const {
    const auto labels = static_cast<std::int64_t>(embeddings.rows);
    for (const auto& [name, values] : {std::pair{"scales", &scales}, {"biases", &biases}}) {
        if (values->shape != std::vector<std::int64_t>{labels})
            return std::string(name) + " are float32 " + tuple(values->shape) +
                   ", not one float32 for each label";
        if (!std::all_of(values->data.begin(), values->data.end(),
                         [](float value) { return std::isfinite(value); }))
            return std::string(name) + " hold NaN or infinite values";
    }
    if (std::any_of(scales.data.begin(), scales.data.end(), [](float scale) { return scale < 0; }))
        return "scales are below 0";
    if (counted != embeddings.rows || measured.value_or(counted) != counted)
        return "what is said of the labels is not of as many as there are";
    Sha256 digest;
    for (const auto* values : {&embeddings.data, &scales.data, &biases.data})
        digest.add(bytes(*values));
    if (digest.hex() != sha256)
        return "embeddings, scales and biases do not have the recorded SHA-256";
    return "";
}

}  // namespace clap::inner
