#include "bank.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "../clips/pool.h"
#include "../encoder.h"
#include "../plain/schema.h"
#include "../plain/shown.h"
#include "../plain/unicode.h"
#include "npz.h"

namespace clap::inner {

namespace {

constexpr std::size_t most_letters = 1000;  // of a name or a template
constexpr std::uint64_t most_text = 256 << 20;
constexpr double norm_tolerance = 1e-3;

std::vector<std::string> embedding_problems(const Array& array,
                                            const std::vector<std::string>* names) {
    if (array.shape.size() != 2 ||
        (names && array.shape[0] != static_cast<std::int64_t>(names->size())))
        return {"embeddings have shape " + array.shown_shape() + ", not (" +
                (names ? std::to_string(names->size()) : "n") + ", dim)"};
    return {};
}

std::vector<std::string> norm_problems(const Matrix& rows) {
    double worst = 0.0;
    for (std::size_t i = 0; i < rows.rows; ++i) {
        double sum = 0.0;
        for (std::size_t j = 0; j < rows.columns; ++j)
            sum += static_cast<double>(rows.row(i)[j]) * rows.row(i)[j];
        if (!std::isfinite(sum)) return {"embeddings hold NaN or infinite values"};
        worst = std::max(worst, std::fabs(std::sqrt(sum) - 1.0));
    }
    if (worst > norm_tolerance)
        return {"embeddings are not of unit norm (off by " + general(worst, 2) + ")"};
    return {};
}

struct Meta {
    std::string space_id;
    std::vector<std::string> names, templates;
};

bool read_meta(const Array& array, Meta& meta, std::vector<std::string>& problems) {
    if (array.shape.size() != 1) {
        problems.push_back("meta is uint8 " + array.shown_shape() + ", not the bytes of a text");
        return false;
    }
    try {
        const Value document = parse_json(array.data);
        Problems found;
        const Table table(Field(&document, "", found),
                          {"format", "format_version", "space_id", "names", "templates"});
        table["format"].choice({"clap-export-labels"});
        table["format_version"].whole_choice(1);
        meta.space_id = table["space_id"].text(255);
        table["names"].each([&](const Field& name) { meta.names.push_back(name.any_text()); });
        table["templates"].each(
            [&](const Field& prompt) { meta.templates.push_back(prompt.text(most_letters)); });
        found.raise("meta");
        return true;
    } catch (const Error& error) {
        problems.push_back(error.what());
    } catch (const NotJson& problem) {
        problems.push_back("meta is not JSON (" + problem.said + ")");
    }
    return false;
}

Matrix matrix(const Array& array) {
    const auto rows = static_cast<std::size_t>(array.shape[0]),
               columns = static_cast<std::size_t>(array.shape[1]);
    Matrix found(rows, columns);
    std::memcpy(found.data.data(), array.data.data(), array.data.size());
    if (!array.fortran) return found;
    Matrix turned(rows, columns);
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j) turned.row(i)[j] = found.data[j * rows + i];
    return turned;
}

}  // namespace

LabelBank LabelBank::load(const std::string& given) {
    const std::string path = tidy(given);
    const OpenFile file(
        path, Code::label,
        "no label bank at '" + path + "'. Make one: clap-export labels BUNDLE FILE -o bank.npz");
    Archive archive;
    try {
        archive = read_npz(file);
    } catch (const NotAnArchive& problem) {
        throw Error(Code::label, "'" + path + "' is truncated or no label bank (" + problem.said +
                                     "). Build it again.");
    }
    LabelBank bank;
    Meta meta;
    auto problems = std::move(archive.problems);
    const bool named = archive.has_meta && read_meta(archive.meta, meta, problems);
    if (archive.has_embeddings) {
        auto found = embedding_problems(archive.embeddings, named ? &meta.names : nullptr);
        if (found.empty()) {
            bank.embeddings = matrix(archive.embeddings);
            found = norm_problems(bank.embeddings);
        }
        problems.insert(problems.end(), found.begin(), found.end());
    }
    if (named)
        for (const std::string& problem : name_problems(meta.names)) problems.push_back(problem);
    if (!problems.empty() || !named || !archive.has_embeddings)
        throw Error(Code::label, "'" + path + "' is no usable label bank: " +
                                     joined(problems, "; ") + ". Build it again.");
    bank.names = std::move(meta.names);
    bank.templates = std::move(meta.templates);
    bank.space_id = std::move(meta.space_id);
    return bank;
}

LabelBank LabelBank::build(const Encoder& encoder, const std::vector<std::string>& names,
                           const std::vector<std::string>& templates) {
    const auto problems = name_problems(names);
    if (!problems.empty())
        throw Error(Code::label, "these labels cannot be used: " + joined(problems, "; ") + ".");
    LabelBank bank;
    bank.names = names;
    bank.templates = templates;
    if (templates.empty()) bank.templates = {encoder.manifest().default_template};
    for (const std::string& prompt : bank.templates) check_template(prompt);
    std::vector<std::string> texts;
    for (const std::string& name : names)
        for (const std::string& prompt : bank.templates)
            texts.push_back(std::string(prompt).replace(prompt.find("{}"), 2, name));
    const Matrix rows = encoder.embed_text(texts);
    bank.embeddings.columns = rows.columns;
    for (std::size_t i = 0; i < names.size(); ++i) {
        Pool pool("mean");
        for (std::size_t j = 0; j < bank.templates.size(); ++j)
            pool.add(rows.row(i * bank.templates.size() + j), rows.columns, 1.0);
        bank.embeddings.add(pool.embedding().data());
    }
    bank.space_id = encoder.manifest().space_id;
    return bank;
}

std::vector<std::string> LabelBank::problems() const {
    auto found = name_problems(names);
    if (embeddings.rows != names.size()) found.push_back("embeddings have another number of rows");
    for (const std::string& problem : norm_problems(embeddings)) found.push_back(problem);
    return found;
}

void LabelBank::check_space(const std::string& wanted) const {
    if (space_id != wanted)
        throw Error(
            Code::bundle,
            "the label bank belongs to embedding space " + space_id + ", the bundle to " + wanted +
                ": their cosines would mean nothing. Build the bank again with this bundle: "
                "clap-export labels BUNDLE FILE -o bank.npz");
}

void LabelBank::check_fits(const std::string& wanted_space, std::size_t dim) const {
    check_space(wanted_space);
    if (embeddings.columns != dim)
        throw Error(Code::label, "the label bank has " + std::to_string(embeddings.columns) +
                                     " dimensions, the bundle " + std::to_string(dim) + ".");
}

std::vector<std::string> read_labels(const std::string& given) {
    const std::string path = tidy(given);
    const std::string data =
        read_file(path, most_text, Code::label,
                  "no label file at '" + path +
                      "'. Pass a text file with one label a line, a saved bank (.npz), or a list "
                      "of names.");
    std::u32string text;
    try {
        text = unicode::decode(
            data.compare(0, 3, "\xEF\xBB\xBF") == 0 ? std::string_view(data).substr(3) : data);
    } catch (const unicode::Invalid& problem) {
        throw Error(Code::label, "'" + path + "' is not UTF-8 text (" + problem.said + ").");
    }
    if (text.find(U'\0') != text.npos)
        throw Error(Code::label, "'" + path + "' is a binary file, not a list of labels.");
    const std::u32string ends =
        U"\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029";  // of lines, as Python has them
    std::vector<std::string> names;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find_first_of(ends, at), text.size());
        const std::string line = unicode::encode(text.substr(at, end - at));
        const std::string_view name = unicode::stripped(line);
        if (!name.empty() && name[0] != '#') names.emplace_back(name);
        at = end + 1;
    }
    const auto problems = name_problems(names);
    if (!problems.empty())
        throw Error(Code::label, "'" + path + "': " + joined(problems, "; ") + ".");
    return names;
}

std::vector<std::string> name_problems(const std::vector<std::string>& names) {
    if (names.empty()) return {"no labels"};
    std::vector<std::string> problems;
    std::unordered_set<std::string> seen, said;
    const auto add = [&](std::string problem) {
        if (said.insert(problem).second) problems.push_back(std::move(problem));
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
        const std::string& name = names[i];
        const std::string label = "label " + std::to_string(i);
        const auto letters = unicode::decode(name);
        if (unicode::stripped(name).empty()) {
            const auto whole = unicode::decode(quoted(name));
            add(label + " is " + printable(unicode::encode(whole.substr(0, 80))) + ", not a name");
        } else if (letters.size() > most_letters) {
            add(label + " has " + std::to_string(letters.size()) + " characters, at most 1000 are");
        } else if (std::any_of(letters.begin(), letters.end(), unicode::is_control)) {
            add(label + ", '" + printable(name) + "', holds control characters");
        } else if (!seen.insert(name).second) {
            add(quoted(name) + " is listed twice");
        }
    }
    if (problems.empty()) return {};
    return {listed(problems)};
}

void check_template(const std::string& prompt) {
    const auto slot = prompt.find("{}");
    if (slot == prompt.npos || prompt.find("{}", slot + 2) != prompt.npos)
        throw Error(Code::label,
                    "template " + shortly(prompt) +
                        " must hold exactly one {} for the label, as in 'this is a sound of {}'.");
    const std::string problem = text_problem(prompt, most_letters);
    if (!problem.empty())
        throw Error(Code::label, "template " + shortly(prompt) + " " + problem + ".");
}

}  // namespace clap::inner
