// clap-classify BUNDLE LABELS FILE...: what is heard in files; or clap-classify TAGGER FILE...

#include <sys/stat.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "clap/clap.hpp"
#include "options.h"
#include "results.h"

namespace {

constexpr int done = 0, some_failed = 2, bad_input = 2;

void look_for(clap::Model& model, const std::string& labels) {
    using clap::programs::ends_in;
    if (ends_in(labels, ".npz")) {
        model.bank(labels);
        return;
    }
    model.labels(ends_in(labels, ".txt") ? clap::programs::read_names(labels)
                                         : clap::programs::between_commas(labels));
}

int run(const clap::programs::Options& asked) {
    clap::Model model(asked.model, asked.options);
    if (!asked.labels.empty()) look_for(model, asked.labels);
    int failed = 0;
    for (const std::string& file : asked.files) {
        clap::programs::Outcome outcome{file, {}, "", ""};
        try {
            outcome.predictions = model.predict(file, &outcome.warning);
        } catch (const clap::Error& error) {
            if (error.code() != CLAP_AUDIO) throw;
            outcome.error = error.what();
            ++failed;
        }
        clap::programs::print(outcome, asked.json);
    }
    return failed ? some_failed : done;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const auto asked = clap::programs::read_options({arguments + 1, arguments + count});
        if (asked.help) {
            std::fputs(clap::programs::usage, stdout);
            return done;
        }
        return run(asked);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "Error: %s\n", error.what());
        return bad_input;
    }
}
