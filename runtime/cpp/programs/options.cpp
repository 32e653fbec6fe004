#include "options.h"

#include <cstdlib>
#include <stdexcept>

#include "../src/labels/bank.h"
#include "../src/plain/files.h"
#include "../src/plain/unicode.h"

namespace clap::programs {

const char* usage =
    "clap-classify BUNDLE LABELS FILE...   what is heard in files, by a bundle\n"
    "clap-classify TAGGER FILE...          the same by a tagger (a file with labels inside)\n"
    "\n"
    "LABELS     names between commas, a file of them (.txt), or a saved bank or head (.npz)\n"
    "--top-k K  best labels of a file (3)\n"
    "--scores softmax|cosine|multilabel, --threshold SCORE, --template 'a sound of {}'\n"
    "--windows POLICY, --engine openvino|onnxruntime, --threads N\n"
    "--json     one object a file and line\n";

namespace {

double number(const std::string& name, const std::string& text) {
    char* end = nullptr;
    const double found = std::strtod(text.c_str(), &end);
    if (text.empty() || *end) throw std::runtime_error(name + " " + text + ": pass a number.");
    return found;
}

int whole(const std::string& name, const std::string& text, double least) {
    const double found = number(name, text);
    if (found != static_cast<int>(found) || found < least)
        throw std::runtime_error(name + " " + text + ": pass a whole number of at least " +
                                 std::to_string(static_cast<int>(least)) + ".");
    return static_cast<int>(found);
}

}  // namespace

Options read_options(const std::vector<std::string>& words) {
    Options found;
    found.options.top_k = 3;
    std::vector<std::string> plain;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const auto value = [&]() -> const std::string& {
            if (i + 1 == words.size()) throw std::runtime_error(word + " needs a value.");
            return words[++i];
        };
        if (word == "--help" || word == "-h")
            found.help = true;
        else if (word == "--json")
            found.json = true;
        else if (word == "--top-k")
            found.options.top_k = whole(word, value(), 1);
        else if (word == "--threads")
            found.options.threads = whole(word, value(), 0);
        else if (word == "--threshold")
            found.options.threshold = number(word, value());
        else if (word == "--scores")
            found.options.scores = value();
        else if (word == "--template")
            found.options.prompt = value();
        else if (word == "--windows")
            found.options.windows = value();
        else if (word == "--engine")
            found.options.engine = value();
        else if (word.size() > 1 && word[0] == '-')
            throw std::runtime_error(word + " is not known: see clap-classify --help.");
        else
            plain.push_back(word);
    }
    if (found.help) return found;
    const bool tagger = !plain.empty() && inner::is_regular(plain[0]);
    const std::size_t before = tagger ? 1 : 2;
    if (plain.size() <= before)
        throw std::runtime_error("nothing to classify: see clap-classify --help.");
    found.model = plain[0];
    if (!tagger) found.labels = plain[1];
    found.files.assign(plain.begin() + static_cast<std::ptrdiff_t>(before), plain.end());
    return found;
}

bool ends_in(const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::vector<std::string> between_commas(const std::string& labels) {
    std::vector<std::string> found;
    for (std::size_t at = 0; at <= labels.size();) {
        const std::size_t end = std::min(labels.find(',', at), labels.size());
        const std::string part = labels.substr(at, end - at);
        found.emplace_back(inner::unicode::stripped(part));
        at = end + 1;
    }
    return found;
}

std::vector<std::string> read_names(const std::string& path) {
    return inner::read_labels(path);
}

}  // namespace clap::programs
