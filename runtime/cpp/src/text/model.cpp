#include "model.h"

#include <queue>

#include "../plain/unicode.h"
#include "parts.h"

namespace clap::inner {

namespace {

std::string text_of(const Value& model, const char* name, const std::string& otherwise = "") {
    const Value* found = model.find(name);
    return found && found->is(Value::Kind::text) ? found->text : otherwise;
}

class WordLevel : public Model {
  public:
    explicit WordLevel(const Value& model) : Model(model) {}

    void cut(const std::u32string& word, std::vector<std::int64_t>& ids) const override {
        auto id = id_of(unicode::encode(word));
        if (!id) id = id_of(unknown_);
        if (!id) throw NoModel{"WordLevel error: Missing [UNK] token from the vocabulary"};
        ids.push_back(*id);
    }
};

class WordPiece : public Model {
  public:
    explicit WordPiece(const Value& model)
        : Model(model), prefix_(text_of(model, "continuing_subword_prefix", "##")) {
        if (const Value* most = model.find("max_input_chars_per_word"))
            most_ = static_cast<std::size_t>(most->number);
    }

    void cut(const std::u32string& word, std::vector<std::int64_t>& ids) const override {
        const std::size_t before = ids.size();
        std::size_t at = 0;
        while (at < word.size() && word.size() <= most_) {
            std::size_t end = word.size();
            std::optional<std::int64_t> id;
            while (end > at &&
                   !(id = id_of((at ? prefix_ : "") + unicode::encode(word.substr(at, end - at)))))
                --end;
            if (!id) break;
            ids.push_back(*id);
            at = end;
        }
        if (at == word.size()) return;
        ids.resize(before);  // one part that is not known makes the whole word so
        const auto id = id_of(unknown_);
        if (!id) throw NoModel{"WordPiece error: Missing [UNK] token from the vocabulary"};
        ids.push_back(*id);
    }

  private:
    std::string prefix_;
    std::size_t most_ = 100;  // letters of a word
};

class BytePairs : public Model {
  public:
    explicit BytePairs(const Value& model)
        : Model(model),
          prefix_(text_of(model, "continuing_subword_prefix")),
          suffix_(text_of(model, "end_of_word_suffix")),
          fuse_(flag_of(model, "fuse_unk", false)),
          bytes_(flag_of(model, "byte_fallback", false)),
          whole_(flag_of(model, "ignore_merges", false)) {
        std::int64_t rank = 0;
        for (const Value& merge : model.find("merges")->items) {
            if (merge.is(Value::Kind::text) && merge.text.compare(0, 8, "#version") == 0) continue;
            add(merge, rank++);
        }
    }

    void cut(const std::u32string& word, std::vector<std::int64_t>& ids) const override {
        if (whole_)
            if (const auto id = id_of(unicode::encode(word))) {
                ids.push_back(*id);
                return;
            }
        std::vector<Symbol> symbols;
        begin(word, symbols);
        merge(symbols);
        for (int at = symbols.empty() ? -1 : 0; at >= 0;
             at = symbols[static_cast<std::size_t>(at)].next)
            ids.push_back(symbols[static_cast<std::size_t>(at)].id);
    }

  private:
    struct Symbol {
        std::int64_t id;
        int before, next;
        bool gone = false;
    };
    struct Merged {
        std::int64_t rank, id;
    };
    struct Step {
        std::int64_t rank;
        int at;
        std::int64_t id;
        bool operator<(const Step& other) const {
            return rank != other.rank ? rank > other.rank : at > other.at;
        }
    };

    static std::uint64_t pair(std::int64_t a, std::int64_t b) {
        return static_cast<std::uint64_t>(a) << 32 | static_cast<std::uint64_t>(b);
    }

    void add(const Value& merge, std::int64_t rank) {
        std::string first, second;
        if (merge.is(Value::Kind::text)) {
            const auto space = merge.text.find(' ');
            if (space == merge.text.npos || merge.text.find(' ', space + 1) != merge.text.npos)
                throw NoModel{"Merges text file invalid at line " + std::to_string(rank + 1)};
            first = merge.text.substr(0, space);
            second = merge.text.substr(space + 1);
        } else {
            first = merge.items[0].text;
            second = merge.items[1].text;
        }
        const auto a = id_of(first), b = id_of(second);
        for (const auto& [id, token] : {std::make_pair(a, first), std::make_pair(b, second)})
            if (!id) throw NoModel{"Token `" + token + "` out of vocabulary"};
        const std::string made =
            first + (second.size() >= prefix_.size() ? second.substr(prefix_.size()) : "");
        const auto id = id_of(made);
        if (!id) throw NoModel{"Token `" + made + "` out of vocabulary"};
        merges_[pair(*a, *b)] = {rank, *id};
    }

    // The letters of a word as symbols.
    void begin(const std::u32string& word, std::vector<Symbol>& symbols) const {
        bool unknown = false;  // the symbol before is the unknown token
        const auto push = [&](std::int64_t id) {
            const int at = static_cast<int>(symbols.size());
            if (at) symbols.back().next = at;
            symbols.push_back({id, at - 1, -1});
        };
        for (std::size_t i = 0; i < word.size(); ++i) {
            std::string letter = unicode::encode(word.substr(i, 1));
            const std::string plain = letter;
            if (i) letter = prefix_ + letter;
            if (i + 1 == word.size()) letter += suffix_;
            if (const auto id = id_of(letter)) {
                push(*id);
                unknown = false;
                continue;
            }
            if (bytes_) {
                std::vector<std::int64_t> ids;
                for (char byte : letter) {
                    char code[8];
                    std::snprintf(code, sizeof code, "<0x%02X>", static_cast<unsigned char>(byte));
                    if (const auto id = id_of(code)) ids.push_back(*id);
                }
                if (ids.size() == letter.size()) {
                    for (std::int64_t id : ids) push(id);
                    unknown = false;
                    continue;
                }
            }
            if (!has_unknown_ || (fuse_ && unknown)) continue;
            const auto id = id_of(unknown_);
            if (!id) throw NoModel{"Unk token `" + unknown_ + "` not found in the vocabulary"};
            push(*id);
            unknown = true;
        }
    }

    void merge(std::vector<Symbol>& symbols) const {
        std::priority_queue<Step> queue;
        const auto look = [&](int at) {
            if (at < 0) return;
            const Symbol& left = symbols[static_cast<std::size_t>(at)];
            if (left.next < 0) return;
            const auto found =
                merges_.find(pair(left.id, symbols[static_cast<std::size_t>(left.next)].id));
            if (found != merges_.end()) queue.push({found->second.rank, at, found->second.id});
        };
        for (std::size_t i = 0; i + 1 < symbols.size(); ++i) look(static_cast<int>(i));
        while (!queue.empty()) {
            const Step step = queue.top();
            queue.pop();
            Symbol& left = symbols[static_cast<std::size_t>(step.at)];
            if (left.gone || left.next < 0) continue;
            Symbol& right = symbols[static_cast<std::size_t>(left.next)];
            const auto found = merges_.find(pair(left.id, right.id));
            if (found == merges_.end() || found->second.id != step.id) continue;
            left.id = step.id;
            right.gone = true;
            left.next = right.next;
            if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].before = step.at;
            look(left.before);
            look(step.at);
        }
    }

    std::string prefix_, suffix_;
    bool fuse_, bytes_, whole_;
    std::unordered_map<std::uint64_t, Merged> merges_;
};

}  // namespace

Model::Model(const Value& model) {
    const Value& table = *model.find("vocab");
    vocabulary_.reserve(table.entries.size());
    for (const auto& [token, id] : table.entries)
        vocabulary_.emplace(token, static_cast<std::int64_t>(id.number));
    const Value* unknown = model.find("unk_token");
    has_unknown_ = unknown && unknown->is(Value::Kind::text);
    unknown_ = has_unknown_ ? unknown->text : "[UNK]";
}

std::optional<std::int64_t> Model::id_of(const std::string& token) const {
    const auto found = vocabulary_.find(token);
    if (found == vocabulary_.end()) return std::nullopt;
    return found->second;
}

std::unique_ptr<Model> Model::of(const Value& model) {
    const Value* kind = model.find("type");
    const std::string name = kind && kind->is(Value::Kind::text) ? kind->text : "BPE";
    if (name == "WordPiece") return std::make_unique<WordPiece>(model);
    if (name == "WordLevel") return std::make_unique<WordLevel>(model);
    return std::make_unique<BytePairs>(model);
}

}  // namespace clap::inner
