// Answers a conformance kit's questions, one a line, as long as any come (docs/conformance.md).

#include <cmath>
#include <cstring>
#include <deque>
#include <iostream>
#include <limits>
#include <map>
#include <memory>

#include "../src/audio/resampler.h"
#include "../src/classifier.h"
#include "../src/clips/clip.h"
#include "../src/listening/events.h"
#include "../src/listening/listener.h"
#include "../src/plain/files.h"
#include "../src/plain/json.h"
#include "../src/plain/shown.h"
#include "../src/text/tokenizer.h"
#include "wire.h"

namespace {

using namespace clap::inner;
using namespace clap::inner::wire;

constexpr std::uint64_t most_bytes = 1 << 30;
constexpr std::size_t kept = 4;  // bundles that stay open

class Reader {
  public:
    Reader(std::string engine, int threads) : engine_(std::move(engine)), threads_(threads) {}

    Value answer(const Value& request) {
        kit_ = request.find("kit")->text;
        const std::string& task = request.find("task")->text;
        const Value& input = *request.find("input");
        if (task == "space") return space(input);
        if (task == "decode") return decode(input);
        if (task == "resample") return resample(input);
        if (task == "windows") return windows(input);
        if (task == "embed") return embed(input);
        if (task == "tokens") return tokens(input);
        if (task == "embed_text") return embed_text(input);
        if (task == "bank") return bank(input);
        if (task == "classify") return ranked(classifier(input)->predict(sound(input)));
        if (task == "timeline") return timeline(input);
        if (task == "listen") return heard(input);
        if (task == "tagger") return tagger(input);
        throw Error(Code::argument, "the task '" + task + "' is not known.");
    }

  private:
    std::string path(const Value& input, const char* name) const {
        return joined_path(kit_, input.find(name)->text);
    }

    // Samples of any type as floats of full scale 1.
    Source samples(const Value& value, double rate) const {
        Source found;
        const std::string data =
            read_file(joined_path(kit_, value.find("file")->text), most_bytes, Code::argument);
        found.type = value.find("dtype")->text;
        const auto& shape = value.find("shape")->items;
        if (shape.size() == 2) found.channels = static_cast<std::size_t>(shape[0].number);
        const auto convert = [&](auto kind, double middle, double scale) {
            using T = decltype(kind);
            for (std::size_t at = 0; at + sizeof(T) <= data.size(); at += sizeof(T)) {
                T one;
                std::memcpy(&one, data.data() + at, sizeof(T));
                found.samples.push_back(
                    static_cast<float>((static_cast<double>(one) - middle) / scale));
            }
        };
        if (found.type == "float32")
            convert(0.0f, 0, 1);
        else if (found.type == "float64")
            convert(0.0, 0, 1);
        else if (found.type == "int16")
            convert(std::int16_t{}, 0, 32768);
        else if (found.type == "int32")
            convert(std::int32_t{}, 0, 2147483648.0);
        else if (found.type == "uint8")
            convert(std::uint8_t{}, 128, 128);
        else
            convert(std::int64_t{}, 0, 1);
        found.rate = rate;
        return found;
    }

    Source sound(const Value& input) const {
        if (given(input, "wav")) return Source::file(path(input, "wav"));
        return samples(*input.find("samples"), number(*input.find("rate")));
    }

    EncoderOptions options(const Value& input) const {
        EncoderOptions found;
        found.engine = engine_;
        found.threads = threads_;
        const Value* policy = given(input, "policy");
        if (policy && policy->is(Value::Kind::text)) found.windows = policy->text;
        if (policy && policy->is(Value::Kind::table)) {
            Problems problems;
            found.policy = Policy::read(Field(policy, "", problems));
            problems.raise("policy");
        }
        return found;
    }

    std::shared_ptr<Encoder> encoder(const Value& input) {
        const Value* policy = given(input, "policy");
        const std::string key = path(input, "bundle") + "\n" + (policy ? write_json(*policy) : "");
        for (const auto& [name, open] : open_)
            if (name == key) return open;
        auto made = std::make_shared<Encoder>(path(input, "bundle"), options(input));
        open_.emplace_back(key, made);
        if (open_.size() > kept) open_.pop_front();
        return made;
    }

    std::shared_ptr<const Classifier> classifier(const Value& input) {
        const auto found = encoder(input);
        const Ranking ranking = Ranking::of(found->manifest(), maybe_text(input, "scores"),
                                            maybe_number(input, "threshold"), std::nullopt,
                                            maybe_whole(input, "top_k"));
        std::vector<std::string> templates;
        if (given(input, "template")) templates = {text(input, "template")};
        if (given(input, "bank") && !templates.empty())
            throw Error(Code::label,
                        "templates do not apply to a saved label bank: build it with them.");
        LabelBank bank = given(input, "bank")
                             ? LabelBank::load(path(input, "bank"))
                             : LabelBank::build(*found, texts(*input.find("labels")), templates);
        return std::make_shared<Classifier>(found, std::move(bank), ranking);
    }

    Value space(const Value& input) const {
        const Bundle bundle(path(input, "bundle"));
        const Manifest& manifest = bundle.manifest();
        return Value::object(
            {{"space_id", manifest.space_id},
             {"clip_space_id", manifest.policy.clip_space_id(manifest.space_id, manifest.audio)},
             {"sample_rate", manifest.audio.sample_rate},
             {"window_samples", manifest.audio.window_samples},
             {"hop_samples", manifest.audio.hop_samples},
             {"embedding_dim", manifest.embedding_dim},
             {"logit_scale", manifest.logit_scale}});
    }

    Value decode(const Value& input) const {
        std::vector<float> found;
        const Heard heard =
            listen(Source::file(path(input, "wav")), 0, std::numeric_limits<double>::infinity(),
                   "soxr", [&](const float* block, std::size_t count) {
                       found.insert(found.end(), block, block + count);
                       return true;
                   });
        return Value::object({{"samples", floats({length(found)}, found)},
                              {"rate", heard.rate},
                              {"warning", heard.warning.empty() ? Value() : Value(heard.warning)}});
    }

    Value resample(const Value& input) const {
        const auto rate = static_cast<std::int64_t>(number(*input.find("rate"))),
                   to = static_cast<std::int64_t>(number(*input.find("to")));
        const auto found =
            resampled(samples(*input.find("samples"), static_cast<double>(rate)).samples, rate, to);
        return Value::object({{"samples", floats({length(found)}, found)}});
    }

    Value windows(const Value& input) {
        const auto open = encoder(input);
        const AudioSpec& spec = open->manifest().audio;
        std::vector<float> rows;
        Value starts = Value::array(), ends = Value::array();
        cuts(samples(*input.find("samples"), static_cast<double>(spec.sample_rate)), spec,
             open->policy(), [&](Cut cut) {
                 rows.insert(rows.end(), cut.row.begin(), cut.row.end());
                 starts.items.push_back(Value(cut.start));
                 ends.items.push_back(Value(cut.end));
             });
        return Value::object(
            {{"windows", floats({length(rows) / spec.window_samples, spec.window_samples}, rows)},
             {"starts", starts},
             {"ends", ends}});
    }

    Value embed(const Value& input) {
        const auto found = encoder(input)->embed(sound(input));
        return Value::object({{"embedding", floats({length(found)}, found)}});
    }

    Value tokens(const Value& input) const {
        const Bundle bundle(path(input, "bundle"));
        const auto& spec = bundle.manifest().text;
        if (!spec) throw no_text_encoder();
        const Tokens found = Tokenizer(bundle.read(spec->tokenizer), bundle.path(spec->tokenizer),
                                       *spec)(texts(*input.find("texts")));
        Value answer = Value::object();
        for (const std::string& name : spec->inputs)
            answer.set(name, array("int64",
                                   {static_cast<std::int64_t>(found.rows),
                                    static_cast<std::int64_t>(found.length)},
                                   found.of(name)));
        return answer;
    }

    Value embed_text(const Value& input) {
        const Matrix found = encoder(input)->embed_text(texts(*input.find("texts")));
        return Value::object({{"embeddings", matrix(found)}});
    }

    static Value matrix(const Matrix& rows) {
        return floats(
            {static_cast<std::int64_t>(rows.rows), static_cast<std::int64_t>(rows.columns)},
            rows.data);
    }

    static Value list(const std::vector<std::string>& names) {
        Value found = Value::array();
        for (const std::string& name : names) found.items.push_back(Value(name));
        return found;
    }

    Value bank(const Value& input) const {
        const LabelBank found = LabelBank::load(path(input, "bank"));
        const Bundle bundle(path(input, "bundle"));
        found.check_fits(bundle.manifest().space_id,
                         static_cast<std::size_t>(bundle.manifest().embedding_dim));
        Value answer = Value::object({{"names", list(found.names)},
                                      {"templates", list(found.templates)},
                                      {"embeddings", matrix(found.embeddings)}});
        if (found.head) {
            answer.set("scores", found.head->scores);
            answer.set("scales", floats(found.head->scales.shape, found.head->scales.data));
            answer.set("biases", floats(found.head->biases.shape, found.head->biases.data));
        }
        return answer;
    }

    static Value ranked(const std::vector<Prediction>& predictions) {
        Value labels = Value::array(), scores = Value::array(), similarities = Value::array();
        for (const Prediction& one : predictions) {
            labels.items.push_back(Value(one.label));
            scores.items.push_back(Value(one.score));
            similarities.items.push_back(Value(one.similarity));
        }
        return Value::object(
            {{"labels", labels}, {"scores", scores}, {"similarities", similarities}});
    }

    Value timeline(const Value& input) {
        const auto open = classifier(input);
        const auto segments = open->timeline(sound(input), maybe_number(input, "hop"));
        const auto& names = open->bank().names;
        Value starts = Value::array(), ends = Value::array();
        std::vector<float> scores;
        for (const Segment& segment : segments) {
            starts.items.push_back(Value(segment.start));
            ends.items.push_back(Value(segment.end));
            std::map<std::string, double> row;
            for (const Prediction& one : segment.predictions) row[one.label] = one.score;
            for (const std::string& name : names) scores.push_back(static_cast<float>(row[name]));
        }
        return Value::object({{"starts", starts},
                              {"ends", ends},
                              {"labels", list(names)},
                              {"scores", floats({static_cast<std::int64_t>(segments.size()),
                                                 static_cast<std::int64_t>(names.size())},
                                                scores)}});
    }

    // A chunk of a stream: the next samples of each channel.
    static Source chunk(const Source& whole, std::size_t at, std::size_t count) {
        Source found;
        found.channels = whole.channels;
        found.type = whole.type;
        found.rate = whole.rate;
        const std::size_t channels = std::max<std::size_t>(1, whole.channels),
                          size = whole.samples.size() / channels;
        const std::size_t begin = std::min(at, size), end = std::min(at + count, size);
        for (std::size_t i = 0; i < channels; ++i)
            found.samples.insert(
                found.samples.end(),
                whole.samples.begin() + static_cast<std::ptrdiff_t>(i * size + begin),
                whole.samples.begin() + static_cast<std::ptrdiff_t>(i * size + end));
        return found;
    }

    Value heard(const Value& input) {
        const Source whole = sound(input);
        Listener listener(classifier(input), whole.rate, number(*input.find("hop")),
                          maybe_number(input, "gate"));
        std::map<std::size_t, double> gaps;
        if (const Value* found = given(input, "gaps"))
            for (const Value& gap : found->items)
                gaps[static_cast<std::size_t>(gap.find("before")->number)] =
                    number(*gap.find("seconds"));
        std::vector<Segment> segments;
        const auto add = [&](std::vector<Segment> more) {
            segments.insert(segments.end(), more.begin(), more.end());
        };
        std::size_t at = 0, place = 0;
        for (const Value& size : input.find("chunks")->items) {
            if (gaps.count(place)) add(listener.gap(gaps[place]));
            add(listener.feed(chunk(whole, at, static_cast<std::size_t>(size.number))));
            at += static_cast<std::size_t>(size.number);
            ++place;
        }
        add(listener.flush());
        return Value::object({{"events", events(input, segments)},
                              {"segments", Value(static_cast<std::int64_t>(segments.size()))},
                              {"silent", listener.silent()}});
    }

    static Value events(const Value& input, const std::vector<Segment>& segments) {
        const Value& given_rule = *input.find("rule");
        Rule rule;
        rule.on = maybe_number(given_rule, "on").value_or(rule.on);
        rule.off = maybe_number(given_rule, "off");
        rule.minimum = maybe_number(given_rule, "minimum").value_or(0.0);
        rule.gap = maybe_number(given_rule, "gap").value_or(0.0);
        Events finder(rule, maybe_whole(input, "smooth").value_or(1),
                      text(input, "smoothing", "median"));
        Value found = Value::array();
        const auto add = [&](const std::vector<Event>& events) {
            for (const Event& event : events)
                if (event.ended)
                    found.items.push_back(Value::object({{"label", event.label},
                                                         {"start", event.start},
                                                         {"end", event.end},
                                                         {"peak", event.peak},
                                                         {"peak_at", event.peak_at}}));
        };
        for (const Segment& segment : segments) add(finder.push(segment));
        add(finder.finish());
        return found;
    }

    Value tagger(const Value& input) const {
        EncoderOptions chosen;
        chosen.engine = engine_;
        chosen.threads = threads_;
        return ranked(Classifier::tagger(path(input, "tagger"), chosen, std::nullopt,
                                         maybe_whole(input, "top_k"))
                          .predict(sound(input)));
    }

    std::string engine_, kit_;
    int threads_;
    std::deque<std::pair<std::string, std::shared_ptr<Encoder>>> open_;
};

}  // namespace

int main(int count, char** arguments) {
    Reader reader(count > 1 ? arguments[1] : "", 1);
    for (std::string line; std::getline(std::cin, line);) {
        Value answer = Value::object();
        try {
            const Value request = parse_json(line);
            answer.set("id", *request.find("id"));
            answer.set("outputs", reader.answer(request));
        } catch (const Error& error) {
            answer.set("error",
                       Value::object({{"code", word(error.code)}, {"message", error.what()}}));
        } catch (const NotJson& problem) {
            answer.set(
                "error",
                Value::object({{"code", "argument"},
                               {"message", "the request is no JSON (" + problem.said + ")."}}));
        }
        std::cout << write_json(answer) << "\n" << std::flush;
    }
    return 0;
}
