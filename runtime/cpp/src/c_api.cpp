// The C interface: what is thrown inside becomes a code and a sentence.

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_set>

#include "clap/clap.h"
#include "classifier.h"
#include "listening/events.h"
#include "listening/listener.h"
#include "plain/files.h"
#include "plain/unicode.h"

using namespace clap::inner;

struct clap_model {
    std::shared_ptr<Encoder> encoder;
    Ranking ranking;
    std::string prompt;
    bool tagger = false;
    mutable std::mutex lock;  // of the labels, which may be changed while another thread predicts
    std::shared_ptr<const Classifier> classifier;

    std::shared_ptr<const Classifier> labelled() const {
        const std::lock_guard<std::mutex> held(lock);
        return classifier;
    }

    std::shared_ptr<const Classifier> current() const {
        auto found = labelled();
        if (!found)
            throw Error(Code::label, "no labels were given: call clap_labels or clap_bank first.");
        return found;
    }

    void look_for(LabelBank bank) {
        if (tagger)
            throw Error(Code::argument,
                        "a tagger has its labels inside: for others take the bundle, or "
                        "clap-export freeze --relabel with a bank of them.");
        auto made = std::make_shared<const Classifier>(encoder, std::move(bank), ranking);
        const std::lock_guard<std::mutex> held(lock);
        classifier = std::move(made);
    }
};

struct clap_listener {
    std::shared_ptr<const Classifier> classifier;
    Listener listener;
    Events events;
    std::deque<Event> waiting;
    std::unordered_set<std::string> labels;  // of the events that were given out

    clap_listener(std::shared_ptr<const Classifier> heard, double rate, const clap_listening& how,
                  const Rule& rule)
        : classifier(std::move(heard)),
          listener(classifier, rate, how.hop,
                   how.gate > -1e300 ? std::optional<double>(how.gate) : std::nullopt),
          events(rule, how.smooth, how.smoothing ? how.smoothing : "median") {}

    void add(const std::vector<Segment>& segments) {
        for (const Segment& segment : segments) {
            const auto found = events.push(segment);
            waiting.insert(waiting.end(), found.begin(), found.end());
        }
    }
};

namespace {

thread_local std::string last_error, last_warning;
thread_local clap_code last_code = CLAP_OK;

clap_code failed(clap_code code, const char* sentence) noexcept {
    try {
        last_error = sentence;
    } catch (...) {  // no memory even for that
        last_error.clear();
    }
    return last_code = code;
}

template <class Work>
clap_code guarded(Work work) noexcept {
    try {
        work();
        return CLAP_OK;
    } catch (const Error& error) {
        return failed(static_cast<clap_code>(error.code), error.what());
    } catch (const unicode::Invalid& problem) {
        return failed(CLAP_ARGUMENT, ("a text is not UTF-8: " + problem.said).c_str());
    } catch (const std::bad_alloc&) {
        return failed(CLAP_INTERNAL, "there is no memory left.");
    } catch (const std::exception& error) {
        return failed(CLAP_INTERNAL, error.what());
    } catch (...) {
        return failed(CLAP_INTERNAL, "a fault of this library.");
    }
}

void need(const void* pointer, const char* name) {
    if (!pointer) throw Error(Code::argument, std::string(name) + " is NULL.");
}

std::string text(const char* given) {
    return given ? given : "";
}

// A caller's structure, of which an older one is shorter.
template <class T>
T taken(const T* given, const T& otherwise) {
    T found = otherwise;
    if (!given) return found;
    if (given->size < sizeof(std::size_t))
        throw Error(Code::argument, "a structure's size is not set: begin with its initializer.");
    std::memcpy(&found, given, std::min(given->size, sizeof(T)));
    return found;
}

void predict(clap_model* model, const Source& source, clap_prediction* found, std::size_t room,
             std::size_t* count) {
    last_warning.clear();
    const auto classifier = model->current();
    const auto predictions = classifier->predict(source, &last_warning);
    const auto& names = classifier->bank().names;
    if (count) *count = predictions.size();
    for (std::size_t i = 0; i < std::min(room, predictions.size()); ++i)
        found[i] = {names[predictions[i].place].c_str(), predictions[i].score,
                    predictions[i].similarity};
}

Source samples_of(const float* samples, std::size_t length, double rate) {
    if (length) need(samples, "samples");
    return Source::array(std::vector<float>(samples, samples + length), rate);
}

void give(const std::vector<float>& found, float* vector, std::size_t dim) {
    need(vector, "vector");
    if (dim != found.size())
        throw Error(Code::argument, "dim=" + std::to_string(dim) + ": this model's vectors have " +
                                        std::to_string(found.size()) + " numbers.");
    std::copy(found.begin(), found.end(), vector);
}

}  // namespace

clap_code clap_open(const char* path, const clap_options* given, clap_model** model) {
    if (model) *model = nullptr;
    return guarded([&] {
        need(path, "path");
        need(model, "model");
        const clap_options options = taken(given, clap_options CLAP_OPTIONS);
        EncoderOptions how;
        how.engine = text(options.engine);
        how.threads = options.threads;
        how.windows = text(options.windows);
        const auto top_k =
            options.top_k ? std::optional<std::int64_t>(options.top_k) : std::nullopt;
        const auto threshold =
            options.threshold > -1e300 ? std::optional<double>(options.threshold) : std::nullopt;
        auto made = std::make_unique<clap_model>();
        made->prompt = text(options.prompt);
        if (is_regular(path)) {
            if (options.scores || options.prompt)
                throw Error(Code::argument,
                            "scores and prompt are the tagger's own: leave them out.");
            made->tagger = true;
            made->classifier =
                std::make_shared<const Classifier>(Classifier::tagger(path, how, threshold, top_k));
        } else {
            made->encoder = std::make_shared<Encoder>(path, how);
            const auto scores =
                options.scores ? std::optional<std::string>(options.scores) : std::nullopt;
            made->ranking =
                Ranking::of(made->encoder->manifest(), scores, threshold, std::nullopt, top_k);
        }
        *model = made.release();
    });
}

clap_code clap_labels(clap_model* model, const char* const* names, size_t count) {
    return guarded([&] {
        need(model, "model");
        if (count) need(names, "names");
        std::vector<std::string> given;
        for (std::size_t i = 0; i < count; ++i) {
            need(names[i], "a name");
            given.emplace_back(names[i]);
        }
        if (model->tagger) model->look_for({});
        std::vector<std::string> prompts;
        if (!model->prompt.empty()) prompts.push_back(model->prompt);
        model->look_for(LabelBank::build(*model->encoder, given, prompts));
        model->encoder->close_text();
    });
}

clap_code clap_bank(clap_model* model, const char* path) {
    return guarded([&] {
        need(model, "model");
        need(path, "path");
        if (model->tagger) model->look_for({});
        model->look_for(LabelBank::load(path));
    });
}

size_t clap_label_count(const clap_model* model) {
    const auto classifier = model ? model->labelled() : nullptr;
    return classifier ? classifier->bank().names.size() : 0;
}

const char* clap_label(const clap_model* model, size_t number) {
    const auto classifier = model ? model->labelled() : nullptr;
    if (!classifier || number >= classifier->bank().names.size()) return nullptr;
    return classifier->bank().names[number].c_str();
}

const char* clap_scores(const clap_model* model) {
    const auto classifier = model ? model->labelled() : nullptr;
    return classifier ? classifier->scores().c_str() : nullptr;
}

clap_code clap_predict_file(clap_model* model, const char* path, clap_prediction* found,
                            size_t room, size_t* count) {
    return guarded([&] {
        need(model, "model");
        need(path, "path");
        if (room) need(found, "found");
        predict(model, Source::file(path), found, room, count);
    });
}

clap_code clap_predict(clap_model* model, const float* samples, size_t length, double rate,
                       clap_prediction* found, size_t room, size_t* count) {
    return guarded([&] {
        need(model, "model");
        if (room) need(found, "found");
        predict(model, samples_of(samples, length, rate), found, room, count);
    });
}

const char* clap_last_warning(void) {
    return last_warning.c_str();
}

size_t clap_dimension(const clap_model* model) {
    if (!model) return 0;
    const Manifest& manifest =
        model->tagger ? model->classifier->manifest() : model->encoder->manifest();
    return static_cast<std::size_t>(manifest.embedding_dim);
}

clap_code clap_embed_text(clap_model* model, const char* given, float* vector, size_t dim) {
    return guarded([&] {
        need(model, "model");
        need(given, "text");
        if (model->tagger) throw no_text_encoder();
        give(model->encoder->embed_text({given}).data, vector, dim);
    });
}

clap_code clap_embed_file(clap_model* model, const char* path, float* vector, size_t dim) {
    return guarded([&] {
        need(model, "model");
        need(path, "path");
        const Encoder& encoder = model->tagger ? model->classifier->encoder() : *model->encoder;
        give(encoder.embed(Source::file(path), &last_warning), vector, dim);
    });
}

clap_code clap_embed(clap_model* model, const float* samples, size_t length, double rate,
                     float* vector, size_t dim) {
    return guarded([&] {
        need(model, "model");
        const Encoder& encoder = model->tagger ? model->classifier->encoder() : *model->encoder;
        give(encoder.embed(samples_of(samples, length, rate), &last_warning), vector, dim);
    });
}

clap_code clap_listen(clap_model* model, double rate, const clap_listening* given,
                      clap_listener** listener) {
    if (listener) *listener = nullptr;
    return guarded([&] {
        need(model, "model");
        need(listener, "listener");
        const clap_listening how = taken(given, clap_listening CLAP_LISTENING);
        Rule rule;
        rule.on = how.on;
        rule.off = how.off;
        rule.minimum = how.minimum;
        rule.gap = how.gap;
        *listener = new clap_listener(model->current(), rate, how, rule);
    });
}

clap_code clap_feed(clap_listener* listener, const float* samples, size_t length) {
    return guarded([&] {
        need(listener, "listener");
        listener->add(listener->listener.feed(samples_of(samples, length, 0)));
    });
}

clap_code clap_finish(clap_listener* listener) {
    return guarded([&] {
        need(listener, "listener");
        listener->add(listener->listener.flush());
        const auto found = listener->events.finish();
        listener->waiting.insert(listener->waiting.end(), found.begin(), found.end());
    });
}

int clap_next_event(clap_listener* listener, clap_event* event) {
    int there = 0;
    guarded([&] {
        if (!listener || !event || listener->waiting.empty()) return;
        const Event one = listener->waiting.front();
        const char* label = listener->labels.insert(one.label).first->c_str();
        listener->waiting.pop_front();
        *event = {label, one.ended, one.start, one.end, one.peak, one.peak_at};
        there = 1;
    });
    return there;
}

void clap_stop(clap_listener* listener) {
    delete listener;
}

void clap_close(clap_model* model) {
    delete model;
}

const char* clap_last_error(void) {
    return last_error.c_str();
}

clap_code clap_last_code(void) {
    return last_code;
}

const char* clap_code_word(clap_code code) {
    if (code == CLAP_OK) return "ok";
    return code == CLAP_INTERNAL ? "internal" : word(static_cast<Code>(code));
}

const char* clap_version(void) {
    return CLAP_VERSION;
}
