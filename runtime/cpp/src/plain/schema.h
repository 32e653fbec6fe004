// Strict reading of plain data: a typo, a missing key or a value of the wrong type is never passed
// over; all problems are collected and reported in one error.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "json.h"

namespace clap::inner {

using Names = std::initializer_list<const char*>;

// What is wrong with a document so far.
class Problems {
  public:
    void add(std::string problem) { found_.push_back(std::move(problem)); }
    std::size_t count() const { return found_.size(); }
    const std::vector<std::string>& all() const { return found_; }
    // Throws a SchemaError "WHERE: a; b" if there are any.
    void raise(const std::string& where) const;

  private:
    std::vector<std::string> found_;
};

// What is wrong with a text: its length, or what a terminal would obey. Empty if nothing is.
std::string text_problem(const std::string& text, std::size_t most);

// A value at a path, to be read as one type; a value that does not fit is a problem, and something
// harmless comes back.
class Field {
  public:
    Field(const Value* value, std::string path, Problems& problems)
        : value_(value), path_(std::move(path)), problems_(&problems) {}

    bool missing() const { return !value_; }
    bool null() const { return value_ && value_->is(Value::Kind::null); }
    const std::string& path() const { return path_; }
    const Value* value() const { return value_; }

    std::int64_t whole(double low, double high) const;
    double number(double low, double high, bool nan = false) const;
    std::string text(std::size_t most) const;
    std::string any_text() const;
    bool flag() const;
    std::string choice(Names choices) const;
    std::int64_t whole_choice(std::initializer_list<std::int64_t> choices) const;
    std::optional<std::int64_t> maybe_whole(double low, double high) const;
    std::optional<std::string> maybe_choice(Names choices) const;
    void each(const std::function<void(const Field&)>& look) const;  // of a list
    // Of a table of any keys: the keys are texts of at most 255 characters.
    void entries(const std::function<void(const std::string&, const Field&)>& look) const;
    void add(const std::string& problem) const { problems_->add("'" + path_ + "' " + problem); }
    Problems& problems() const { return *problems_; }

  private:
    bool wrong_type(Value::Kind kind, const char* name) const;
    const Value* value_;
    std::string path_;
    Problems* problems_;
};

// A table of known keys.
class Table {
  public:
    // `known`: all keys, in order; those from `optional` on may be missing.
    Table(const Field& field, Names known, Names optional = {});
    bool is_table() const { return table_; }
    Field operator[](const char* name) const;
    bool has(const char* name) const { return table_ && table_->find(name); }
    // Whether all is well so far; then a problem of several fields may be looked for.
    bool fine() const { return table_ && field_.problems().count() == before_; }
    void add(const std::string& problem) const;

  private:
    Field field_;
    const Value* table_ = nullptr;
    std::vector<std::string> optional_;
    std::size_t before_ = 0;
};

}  // namespace clap::inner
