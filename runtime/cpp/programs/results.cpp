#include "results.h"

#include <cstdio>

#include "../src/plain/json.h"
#include "../src/plain/shown.h"

namespace clap::programs {

using inner::Value;

namespace {

void print_json(const Outcome& outcome) {
    Value line = Value::object({{"file", inner::printable(outcome.file)}});
    if (!outcome.error.empty()) {
        line.set("error", outcome.error);
    } else {
        Value predictions = Value::array();
        for (const Prediction& one : outcome.predictions)
            predictions.items.push_back(Value::object(
                {{"label", one.label}, {"score", one.score}, {"similarity", one.similarity}}));
        line.set("predictions", predictions);
    }
    if (!outcome.warning.empty()) line.set("warning", outcome.warning);
    std::printf("%s\n", inner::write_json(line).c_str());
}

}  // namespace

void print(const Outcome& outcome, bool json) {
    if (json) {
        print_json(outcome);
    } else {
        const std::string file = inner::printable(outcome.file);
        for (const Prediction& one : outcome.predictions)
            std::printf("%s\t%.3f\t%.3f\t%s\n", file.c_str(), one.score, one.similarity,
                        inner::printable(one.label).c_str());
        if (outcome.error.empty() && outcome.predictions.empty())
            std::printf("%s\t\t\t(none of these)\n", file.c_str());
        if (!outcome.warning.empty())
            std::fprintf(stderr, "Warning: %s\n", outcome.warning.c_str());
        if (!outcome.error.empty()) std::fprintf(stderr, "Error: %s\n", outcome.error.c_str());
    }
    std::fflush(stdout);
}

}  // namespace clap::programs
