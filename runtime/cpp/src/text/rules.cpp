#include "rules.h"

#include <algorithm>
#include <functional>
#include <set>

#include "../error.h"
#include "../plain/shown.h"
#include "../plain/unicode.h"

namespace clap::inner {

namespace {

constexpr std::size_t most_bytes = 64 << 20, most_tokens = 1 << 20, most_steps = 16,
                      most_letters = 512;
constexpr std::int64_t most_id = 1 << 24, most_letters_of_a_word = 200;
using Known = std::set<std::string>;

// Why a file is refused.
struct Bad {
    std::string said;
};

const Value& table(const Value* value, const std::string& where) {
    if (!value || !value->is(Value::Kind::table)) throw Bad{where + " is not a table"};
    return *value;
}

const Value& list(const Value* value, const std::string& where, std::size_t most) {
    if (!value || !value->is(Value::Kind::list) || value->items.size() > most)
        throw Bad{where + " is not a list of at most " + std::to_string(most)};
    return *value;
}

const std::string& text(const Value* value, const std::string& where, std::size_t most) {
    if (!value || !value->is(Value::Kind::text) || unicode::length(value->text) > most)
        throw Bad{where + " is not a text of at most " + std::to_string(most) + " characters"};
    return value->text;
}

std::int64_t whole(const Value* value, const std::string& where, std::int64_t low,
                   std::int64_t high) {
    if (!value || !value->is(Value::Kind::whole) || value->number < low || value->number > high)
        throw Bad{where + ": a number from " + std::to_string(low) + " to " + std::to_string(high) +
                  " is needed"};
    return static_cast<std::int64_t>(value->number);
}

bool given(const Value* value) {
    return value && !value->is(Value::Kind::null);
}

std::string named(const Known& known) {
    return joined({known.begin(), known.end()}, ", ");
}

std::size_t check_pattern(const Value* found) {
    const Value& pattern = table(found, "a pattern");
    if (pattern.entries.size() == 1 && pattern.entries[0].first == "String") {
        const std::string& wanted = text(&pattern.entries[0].second, "a pattern", most_letters);
        if (!wanted.empty()) return unicode::length(wanted);
    }
    if (pattern.entries.size() == 1 && pattern.entries[0].first == "Regex" &&
        Pattern::expression(text(&pattern.entries[0].second, "a pattern", 1000)))
        return 1;
    const auto letters = unicode::decode(represented(pattern)).substr(0, 80);
    throw Bad{"its pattern " + quoted(unicode::encode(letters)) +
              " is not one of those that are known to end"};
}

// A step, or a sequence of them, which has no sequences inside.
void chain(const Value* part, const std::string& where, Known known,
           const std::function<void(const Value&)>& look) {
    if (!given(part)) return;
    std::vector<const Value*> steps{&table(part, where)};
    const Value* kind = steps[0]->find("type");
    if (kind && kind->is(Value::Kind::text) && kind->text == "Sequence") {
        const Value* inside = nullptr;
        for (const auto& [key, value] : part->entries)
            if (!inside && (key == where + "s" || key == "pretokenizers" || key == "processors"))
                inside = &value;
        steps.clear();
        for (const Value& step : list(inside, where, most_steps).items)
            steps.push_back(&table(&step, where));
        known.erase("Sequence");
    }
    int byte_levels = 0;
    for (const Value* step : steps) {
        const std::string& name = text(step->find("type"), "type of " + where, most_letters);
        if (!known.count(name))
            throw Bad{"its " + where + " " + quoted(name) + " is not one of " + named(known)};
        byte_levels += name == "ByteLevel";
        look(*step);
    }
    // Each of these writes a byte beyond ASCII as two.
    if (byte_levels > 1) throw Bad{"its " + where + " turns bytes into letters more than once"};
}

void check_model(const Value& model, std::int64_t& largest) {
    static const Known known{"BPE", "WordLevel", "WordPiece"};
    const Value* type = model.find("type");
    std::string kind = model.find("merges") ? "BPE" : "";
    if (given(type) && !(type->is(Value::Kind::text) && type->text.empty()))
        kind = text(type, "type of model", most_letters);
    else if (kind.empty())
        throw Bad{"type of model is not a text of at most 512 characters"};
    if (!known.count(kind))
        throw Bad{"its model " + quoted(kind) + " is not one of " + named(known)};
    const Value& vocabulary = table(model.find("vocab"), "model.vocab");
    if (vocabulary.entries.size() > most_tokens)
        throw Bad{"its vocabulary has " + std::to_string(vocabulary.entries.size()) + " tokens"};
    for (const auto& [token, id] : vocabulary.entries) {
        if (!id.is(Value::Kind::whole) || id.number < 0 || id.number >= most_id)
            throw Bad{"its vocabulary holds ids that are none"};
        largest = std::max(largest, static_cast<std::int64_t>(id.number));
    }
    for (const auto& [token, id] : vocabulary.entries)
        if (unicode::length(token) > most_letters)
            throw Bad{"it has tokens of more than " + std::to_string(most_letters) + " letters"};
    for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"})
        if (given(model.find(key)))
            text(model.find(key), std::string("model.") + key, most_letters);
    if (kind == "WordPiece")
        whole(model.find("max_input_chars_per_word"), "words", 1, most_letters_of_a_word);
    if (kind == "BPE") {
        const Value* dropout = model.find("dropout");
        if (given(dropout) && !((dropout->is(Value::Kind::real) && dropout->real == 0.0) ||
                                (dropout->is(Value::Kind::whole) && dropout->number == 0) ||
                                (dropout->is(Value::Kind::boolean) && !dropout->flag)))
            throw Bad{"it leaves merges to chance (dropout)"};
        for (const Value& merge : list(model.find("merges"), "model.merges", most_tokens).items) {
            const bool pair = merge.is(Value::Kind::list) && merge.items.size() == 2 &&
                              merge.items[0].is(Value::Kind::text) &&
                              merge.items[1].is(Value::Kind::text);
            if (!merge.is(Value::Kind::text) && !pair)
                throw Bad{"a merge is not one of two tokens"};
        }
    }
}

void check_normalizer(const Value& step) {
    const std::string& kind = step.find("type")->text;
    if (kind == "Replace") {
        const std::size_t shortest = check_pattern(step.find("pattern"));
        if (unicode::length(text(step.find("content"), "a replacement", most_letters)) > shortest)
            throw Bad{"a normalizer replaces text by longer text"};
    }
    if (kind == "Prepend") text(step.find("prepend"), "what is put before a text", 8);
}

// Special tokens around a text, as BERT and RoBERTa have them.
Rules::Template around(const Value& step) {
    std::int64_t ids[2];
    int place = 0;
    for (const char* key : {"sep", "cls"}) {
        const Value& pair = list(step.find(key), std::string("post_processor.") + key, 2);
        if (pair.items.size() != 2 || !pair.items[0].is(Value::Kind::text))
            throw Bad{"its post_processor does not name its special tokens"};
        ids[place++] = whole(&pair.items[1], "the id of a special token", 0, most_id);
    }
    return {{ids[1], 0}, {-1, 0}, {ids[0], 0}};
}

struct Special {
    std::string name;
    std::vector<std::int64_t> ids;
};

Rules::Template pieces(const Value& step, const char* key, const std::set<std::string>& wanted,
                       const std::vector<Special>& special) {
    static const Value none = Value::array();
    const Value* found = step.find(key);
    const std::string where = key;
    const Value& parts = given(found) ? list(found, where, most_steps) : none;
    Rules::Template made;
    std::vector<std::string> texts;
    for (const Value& part : parts.items) {
        table(&part, where);
        const bool single = part.entries.size() == 1;
        const std::string kind = single ? part.entries[0].first : "";
        if (kind != "SpecialToken" && kind != "Sequence")
            throw Bad{"its template '" + where + "' has pieces of another kind"};
        const Value& piece = table(&part.entries[0].second, where);
        const std::string& name =
            text(piece.find("id"), "an id of template '" + where + "'", most_letters);
        const std::int64_t type = whole(piece.find("type_id"), "type_id", 0, 1);
        if (kind == "Sequence") {
            texts.push_back(name);
            made.push_back({-1, type});
            continue;
        }
        const auto token = std::find_if(special.begin(), special.end(),
                                        [&](const Special& one) { return one.name == name; });
        if (token == special.end())
            throw Bad{"its template '" + where + "' names a special token that is not described"};
        for (std::int64_t id : token->ids) made.push_back({id, type});
    }
    if ((!parts.items.empty() || where == "single") &&
        (texts.size() != wanted.size() ||
         std::set<std::string>(texts.begin(), texts.end()) != wanted))
        throw Bad{"its template '" + where + "' does not hold every text once"};
    return made;
}

Rules::Template from_template(const Value& step, std::int64_t& largest) {
    std::vector<Special> special;
    if (const Value* found = step.find("special_tokens"); given(found)) {
        for (const auto& [name, entry] : table(found, "special_tokens").entries) {
            if (found->entries.size() > most_steps)
                throw Bad{"its template has " + std::to_string(found->entries.size()) +
                          " special tokens"};
            const Value& ids =
                list(table(&entry, "special_tokens").find("ids"), "special_tokens.ids", most_steps);
            const Value& names = list(entry.find("tokens"), "special_tokens.tokens", most_steps);
            if (ids.items.size() != names.items.size())
                throw Bad{"its template's special tokens have other numbers of ids than of names"};
            Special one{name, {}};
            for (const Value& id : ids.items)
                one.ids.push_back(whole(&id, "the id of a special token", 0, most_id));
            for (std::int64_t id : one.ids) largest = std::max(largest, id);
            special.push_back(std::move(one));
        }
    }
    Rules::Template found = pieces(step, "single", {"A"}, special);
    pieces(step, "pair", {"A", "B"}, special);
    return found;
}

std::unique_ptr<Rules> read_rules(const Value& document) {
    auto rules = std::make_unique<Rules>();
    table(&document, "the document");
    const Value& model = table(document.find("model"), "model");
    check_model(model, rules->largest_id);
    static const Value none = Value::array();
    const Value* tokens = document.find("added_tokens");
    const Value& added = given(tokens) ? list(tokens, "added_tokens", most_tokens) : none;
    for (const Value& token : added.items) {
        if (text(table(&token, "added_tokens").find("content"), "an added token", most_letters)
                .empty())
            throw Bad{"an added token is empty"};
        rules->largest_id = std::max(
            rules->largest_id, whole(token.find("id"), "the id of an added token", 0, most_id));
    }
    chain(document.find("normalizer"), "normalizer",
          {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents",
           "Replace", "Prepend", "Sequence"},
          [&](const Value& step) {
              check_normalizer(step);
              rules->normalizer.add(step);
          });
    chain(document.find("pre_tokenizer"), "pre_tokenizer",
          {"BertPreTokenizer", "ByteLevel", "Whitespace", "WhitespaceSplit", "Punctuation",
           "Digits", "Split", "Sequence"},
          [&](const Value& step) {
              if (step.find("type")->text == "Split") check_pattern(step.find("pattern"));
              rules->splitter.add(step);
          });
    chain(document.find("post_processor"), "post_processor",
          {"TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence"},
          [&](const Value& step) {
              const std::string& kind = step.find("type")->text;
              if (kind == "ByteLevel") return;
              rules->templates.push_back(kind == "TemplateProcessing"
                                             ? from_template(step, rules->largest_id)
                                             : around(step));
              for (const auto& [id, type] : rules->templates.back())
                  rules->largest_id = std::max(rules->largest_id, id);
          });
    if (model.find("vocab")->entries.empty()) throw Bad{"its vocabulary is empty"};
    rules->model = Model::of(model);
    rules->added.emplace(added, *rules->model, rules->normalizer);
    return rules;
}

}  // namespace

std::unique_ptr<Rules> Rules::read(const std::string& data, const std::string& name) {
    const std::string where = "'" + name + "' is not a tokenizers JSON that is used: it";
    if (data.size() > most_bytes)
        throw Error(Code::bundle, where + " has " + std::to_string(data.size()) +
                                      " bytes, at most " + std::to_string(most_bytes) +
                                      " are read.");
    const Value document = read_json(data, where, Code::bundle);
    try {
        return read_rules(document);
    } catch (const Bad& problem) {
        throw Error(Code::bundle, "'" + name + "' is not a tokenizers JSON that is used: " +
                                      printable(problem.said) + ". Export the bundle again.");
    } catch (const NoModel& problem) {
        throw Error(Code::bundle, "'" + name + "' is not a tokenizers JSON that is used (" +
                                      problem.said + "). Export the bundle again.");
    }
}

}  // namespace clap::inner
