#include "schema.h"

#include <algorithm>
#include <cmath>

#include "shown.h"
#include "unicode.h"

namespace clap::inner {

namespace {

constexpr std::size_t most_problems = 50;
constexpr std::size_t most_name = 255;

// A key of a document for a message, in which its path may be long.
std::string key(const std::string& name) {
    const std::string found = shown(Value(name));
    const auto letters = unicode::decode(found);
    return unicode::encode(letters.substr(1, letters.size() < 2 ? 0 : letters.size() - 2));
}

std::string beyond(double low, double high, const Value& value) {
    return "must be from " + general(low) + " to " + general(high) + ", is " + shown(value);
}

}  // namespace

void Problems::raise(const std::string& where) const {
    if (!found_.empty()) throw Error(Code::schema, where + ": " + listed(found_, most_problems));
}

std::string text_problem(const std::string& text, std::size_t most) {
    const auto letters = unicode::decode(text);
    if (letters.size() > most)
        return "has " + std::to_string(letters.size()) + " characters, at most " +
               std::to_string(most) + " are read";
    if (std::any_of(letters.begin(), letters.end(), unicode::is_control))
        return "holds control characters: " + shown(Value(text));
    return "";
}

bool Field::wrong_type(Value::Kind kind, const char* name) const {
    if (!value_) return true;
    if (value_->is(kind)) return false;
    add("must be " + std::string(name) + ", is " + type_name(*value_));
    return true;
}

std::int64_t Field::whole(double low, double high) const {
    if (wrong_type(Value::Kind::whole, "int")) return static_cast<std::int64_t>(low);
    const auto number = static_cast<double>(value_->number);
    if (number >= low && number <= high) return static_cast<std::int64_t>(value_->number);
    add(beyond(low, high, *value_));
    return static_cast<std::int64_t>(low);
}

double Field::number(double low, double high, bool nan) const {
    if (!value_) return low;
    double number = value_->real;
    if (value_->is(Value::Kind::whole)) {
        number = static_cast<double>(value_->number);
        if (std::fabs(number) >= 18446744073709551616.0) {
            add("is too large a number: " + shown(*value_));
            return low;
        }
    } else if (wrong_type(Value::Kind::real, "float")) {
        return low;
    }
    if ((nan && std::isnan(number)) || (number >= low && number <= high)) return number;
    add(beyond(low, high, Value(number)));
    return low;
}

std::string Field::any_text() const {
    return wrong_type(Value::Kind::text, "str") ? "" : value_->text;
}

std::string Field::text(std::size_t most) const {
    const std::string found = any_text();
    const std::string problem = text_problem(found, most);
    if (!problem.empty()) add(problem);
    return found;
}

bool Field::flag() const {
    return !wrong_type(Value::Kind::boolean, "bool") && value_->flag;
}

std::string Field::choice(Names choices) const {
    if (!value_) return *choices.begin();
    std::vector<std::string> names;
    for (const char* name : choices) {
        if (value_->is(Value::Kind::text) && value_->text == name) return name;
        names.push_back(quoted(name));
    }
    add("is " + shown(*value_) + ", must be one of " + joined(names, ", "));
    return *choices.begin();
}

std::int64_t Field::whole_choice(std::initializer_list<std::int64_t> choices) const {
    if (!value_) return *choices.begin();
    std::vector<std::string> names;
    for (const std::int64_t choice : choices) {
        if (value_->is(Value::Kind::whole) && value_->number == choice) return choice;
        names.push_back(std::to_string(choice));
    }
    add("is " + shown(*value_) + ", must be one of " + joined(names, ", "));
    return *choices.begin();
}

std::optional<std::int64_t> Field::maybe_whole(double low, double high) const {
    if (!value_ || null()) return std::nullopt;
    return whole(low, high);
}

std::optional<std::string> Field::maybe_choice(Names choices) const {
    if (!value_ || null()) return std::nullopt;
    return choice(choices);
}

void Field::each(const std::function<void(const Field&)>& look) const {
    if (!value_) return;
    if (!value_->is(Value::Kind::list)) {
        add(std::string("must be a list, is ") + type_name(*value_));
        return;
    }
    for (std::size_t i = 0; i < value_->items.size(); ++i)
        look(Field(&value_->items[i], path_ + "[" + std::to_string(i) + "]", *problems_));
}

void Field::entries(const std::function<void(const std::string&, const Field&)>& look) const {
    if (!value_) return;
    if (!value_->is(Value::Kind::table)) {
        add(std::string("must be a table, is ") + type_name(*value_));
        return;
    }
    for (const auto& [name, value] : value_->entries) {
        const std::string problem = text_problem(name, most_name);
        if (!problem.empty())
            problems_->add("'" + path_ + ", the key " + shown(Value(name)) + "' " + problem);
    }
    for (const auto& [name, value] : value_->entries)
        look(name, Field(&value, path_ + "." + key(name), *problems_));
}

Table::Table(const Field& field, Names known, Names optional) : field_(field) {
    optional_.assign(optional.begin(), optional.end());
    before_ = field.problems().count();
    if (field.missing()) return;
    if (!field.value()->is(Value::Kind::table)) {
        const std::string path = field.path().empty() ? "(top)" : field.path();
        field.problems().add("'" + path + "' must be a table, is " + type_name(*field.value()));
        return;
    }
    table_ = field.value();
    const std::string dot = field.path().empty() ? "" : field.path() + ".";
    std::vector<std::string> unknown;
    for (const auto& [name, value] : table_->entries) {
        const auto is = [&name = name](const char* other) { return name == other; };
        if (std::none_of(known.begin(), known.end(), is)) unknown.push_back(name);
    }
    std::sort(unknown.begin(), unknown.end());
    for (const std::string& name : unknown)
        field.problems().add("unknown key '" + dot + key(name) + "'");
    before_ = field.problems().count();
}

Field Table::operator[](const char* name) const {
    const std::string path = field_.path().empty() ? name : field_.path() + "." + name;
    const Value* value = table_ ? table_->find(name) : nullptr;
    if (table_ && !value && std::find(optional_.begin(), optional_.end(), name) == optional_.end())
        field_.problems().add("missing key '" + path + "'");
    return Field(value, path, field_.problems());
}

void Table::add(const std::string& problem) const {
    field_.problems().add(field_.path().empty() ? problem : "'" + field_.path() + "': " + problem);
}

}  // namespace clap::inner
