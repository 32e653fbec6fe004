// Zero-shot audio classification from a bundle of clap-export, in C++: clap.h with lifetimes and
// exceptions. It holds no code of the library, so compilers and standard libraries may differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "clap.h"

namespace clap {

// What a user can mend, said in one sentence.
class Error : public std::runtime_error {
  public:
    Error(clap_code code, const std::string &sentence) : std::runtime_error(sentence), code_(code) {}
    clap_code code() const { return code_; }

  private:
    clap_code code_;
};

inline void check(clap_code code) {
    if (code != CLAP_OK) throw Error(code, clap_last_error());
}

struct Prediction {
    std::string label;
    double score, similarity;
};

struct Event {
    std::string label;
    bool ended;
    double start, end, peak, peak_at;
};

// How a model is opened; see clap_options.
struct Options {
    std::string engine, windows, scores, prompt;
    int threads = 0;
    std::int64_t top_k = 0;
    double threshold = -1.0e308;
};

class Listener;

class Model {
  public:
    explicit Model(const std::string &path, const Options &options = {}) {
        clap_options given = CLAP_OPTIONS;
        given.engine = text(options.engine);
        given.windows = text(options.windows);
        given.scores = text(options.scores);
        given.prompt = text(options.prompt);
        given.threads = options.threads;
        given.top_k = options.top_k;
        given.threshold = options.threshold;
        check(clap_open(path.c_str(), &given, &model_));
    }
    Model(Model &&other) noexcept : model_(std::exchange(other.model_, nullptr)) {}
    Model &operator=(Model &&other) noexcept {
        std::swap(model_, other.model_);
        return *this;
    }
    ~Model() { clap_close(model_); }

    void labels(const std::vector<std::string> &names) {
        std::vector<const char *> given;
        for (const std::string &name : names) given.push_back(name.c_str());
        check(clap_labels(model_, given.data(), given.size()));
    }
    void bank(const std::string &path) { check(clap_bank(model_, path.c_str())); }
    std::vector<std::string> labels() const {
        std::vector<std::string> found;
        for (std::size_t i = 0; i < clap_label_count(model_); ++i)
            found.emplace_back(clap_label(model_, i));
        return found;
    }
    // What the scores are: "softmax", "cosine" or "multilabel"; nothing without labels.
    std::string scores() const {
        const char *found = clap_scores(model_);
        return found ? found : "";
    }

    // A file of which only a part could be used is used, and `warning` says so.
    std::vector<Prediction> predict(const std::string &path, std::string *warning = nullptr) {
        std::vector<clap_prediction> room(clap_label_count(model_));
        std::size_t count = 0;
        check(clap_predict_file(model_, path.c_str(), room.data(), room.size(), &count));
        if (warning) *warning = clap_last_warning();
        return predictions(room, count);
    }
    std::vector<Prediction> predict(const std::vector<float> &samples, double rate) {
        std::vector<clap_prediction> room(clap_label_count(model_));
        std::size_t count = 0;
        check(clap_predict(model_, samples.data(), samples.size(), rate, room.data(), room.size(),
                           &count));
        return predictions(room, count);
    }

    std::vector<float> embed_text(const std::string &text) {
        std::vector<float> found(clap_dimension(model_));
        check(clap_embed_text(model_, text.c_str(), found.data(), found.size()));
        return found;
    }
    std::vector<float> embed(const std::string &path) {
        std::vector<float> found(clap_dimension(model_));
        check(clap_embed_file(model_, path.c_str(), found.data(), found.size()));
        return found;
    }
    std::vector<float> embed(const std::vector<float> &samples, double rate) {
        std::vector<float> found(clap_dimension(model_));
        check(clap_embed(model_, samples.data(), samples.size(), rate, found.data(), found.size()));
        return found;
    }

  private:
    friend class Listener;

    static const char *text(const std::string &given) {
        return given.empty() ? nullptr : given.c_str();
    }
    static std::vector<Prediction> predictions(const std::vector<clap_prediction> &from,
                                               std::size_t count) {
        std::vector<Prediction> found;
        for (std::size_t i = 0; i < count && i < from.size(); ++i)
            found.push_back({from[i].label, from[i].score, from[i].similarity});
        return found;
    }

    clap_model *model_ = nullptr;
};

// A stream that is heard as it comes.
class Listener {
  public:
    Listener(Model &model, double rate, const clap_listening &how = CLAP_LISTENING) {
        check(clap_listen(model.model_, rate, &how, &listener_));
    }
    Listener(Listener &&other) noexcept : listener_(std::exchange(other.listener_, nullptr)) {}
    Listener &operator=(Listener &&other) noexcept {
        std::swap(listener_, other.listener_);
        return *this;
    }
    ~Listener() { clap_stop(listener_); }

    std::vector<Event> feed(const std::vector<float> &samples) {
        check(clap_feed(listener_, samples.data(), samples.size()));
        return events();
    }
    std::vector<Event> finish() {
        check(clap_finish(listener_));
        return events();
    }

  private:
    std::vector<Event> events() {
        std::vector<Event> found;
        for (clap_event one; clap_next_event(listener_, &one);)
            found.push_back(
                {one.label, one.ended != 0, one.start, one.end, one.peak, one.peak_at});
        return found;
    }

    clap_listener *listener_ = nullptr;
};

}  // namespace clap
