#include "bank.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
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

std::string name_problem(const std::vector<std::string>& names) {
    if (names.empty()) return "no labels";
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
    return listed(problems);
}

std::string shape_problem(const Array& array, const std::vector<std::string>* names) {
    // Of rows without a number a file of no length may have any number.
    if (array.shape.size() == 2 && array.shape[1] > 0 &&
        (!names || array.shape[0] == static_cast<std::int64_t>(names->size())))
        return "";
    return "embeddings have shape " + tuple(array.shape) + ", not (" +
           (names ? std::to_string(names->size()) : "n") + ", dim)";
}

std::string norm_problem(const Matrix& rows) {
    double worst = 0.0;
    for (std::size_t i = 0; i < rows.rows; ++i) {
        double sum = 0.0;
        for (std::size_t j = 0; j < rows.columns; ++j)
            sum += static_cast<double>(rows.row(i)[j]) * rows.row(i)[j];
        if (!std::isfinite(sum)) return "embeddings hold NaN or infinite values";
        worst = std::max(worst, std::fabs(std::sqrt(sum) - 1.0));
    }
    if (worst > norm_tolerance)
        return "embeddings are not of unit norm (off by " + general(worst, 2) + ")";
    return "";
}

struct Meta {
    std::string space_id;
    std::vector<std::string> names, templates;
    std::optional<Head> head;  // without its numbers
};

bool read_meta(const Array& array, bool is_head, Meta& meta, std::vector<std::string>& problems) {
    if (array.shape.size() != 1) {
        problems.push_back("meta is uint8 " + tuple(array.shape) + ", not the bytes of a text");
        return false;
    }
    try {
        const Value document = parse_json(array.data);
        Problems found;
        const Table table(Field(&document, "", found), {"format", "format_version", "space_id",
                                                        "names", is_head ? "head" : "templates"});
        table["format"].choice({is_head ? "clap-export-head" : "clap-export-labels"});
        table["format_version"].whole_choice({1});
        meta.space_id = table["space_id"].text(255);
        table["names"].each([&](const Field& name) { meta.names.push_back(name.any_text()); });
        if (is_head)
            meta.head = Head::read(table["head"]);
        else
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

std::vector<float> floats(const Array& array) {
    std::vector<float> found(array.data.size() / sizeof(float));
    if (!found.empty()) std::memcpy(found.data(), array.data.data(), array.data.size());
    return found;
}

Matrix matrix(const Array& array) {
    const auto rows = static_cast<std::size_t>(array.shape[0]),
               columns = static_cast<std::size_t>(array.shape[1]);
    Matrix found;
    found.rows = rows;
    found.columns = columns;
    found.data = floats(array);
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
    const auto add = [&](std::string problem) {
        if (!problem.empty()) problems.push_back(std::move(problem));
    };
    const Array *rows = archive.find("embeddings"), *said = archive.find("meta");
    const bool named = said && read_meta(*said, archive.is_head, meta, problems);
    if (rows) {
        const std::string problem = shape_problem(*rows, named ? &meta.names : nullptr);
        if (problem.empty()) bank.embeddings = matrix(*rows);
        add(problem.empty() ? norm_problem(bank.embeddings) : problem);
    }
    if (named) add(name_problem(meta.names));
    if (meta.head && problems.empty()) {  // nothing is missing, then
        const Array *scales = archive.find("scales"), *biases = archive.find("biases");
        meta.head->scales = {scales->shape, floats(*scales)};
        meta.head->biases = {biases->shape, floats(*biases)};
        add(meta.head->problem(bank.embeddings));
        bank.head = std::make_shared<const Head>(std::move(*meta.head));
    }
    if (!problems.empty() || !named || !rows)
        throw Error(Code::label, "'" + path + "' is no usable label bank: " +
                                     joined(problems, "; ") + ". Build it again.");
    bank.names = std::move(meta.names);
    bank.templates = std::move(meta.templates);
    bank.space_id = std::move(meta.space_id);
    return bank;
}

LabelBank LabelBank::build(const Encoder& encoder, const std::vector<std::string>& names,
                           const std::vector<std::string>& templates) {
    const std::string problem = name_problem(names);
    if (!problem.empty()) throw Error(Code::label, "these labels cannot be used: " + problem + ".");
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

void LabelBank::check_parts() const {
    std::vector<std::string> problems;
    for (const std::string& problem : {name_problem(names), norm_problem(embeddings)})
        if (!problem.empty()) problems.push_back(problem);
    if (!problems.empty())
        throw Error(Code::label, "ill-formed label bank: " + joined(problems, "; ") + ".");
}

void LabelBank::check_space(const std::string& wanted) const {
    if (space_id != wanted)
        throw Error(
            Code::bundle,
            "the label bank belongs to embedding space " + space_id + ", the bundle to " + wanted +
                ": their cosines would mean nothing. " +
                (head ? "It is a head: fit it again on a library of this bundle: clap-export head "
                        "LIB LABELS -o head.npz"
                      : "Build the bank again with this bundle: clap-export labels BUNDLE FILE -o "
                        "bank.npz"));
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
    const std::string problem = name_problem(names);
    if (!problem.empty()) throw Error(Code::label, "'" + path + "': " + problem + ".");
    return names;
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
