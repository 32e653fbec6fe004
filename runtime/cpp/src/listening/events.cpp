#include "events.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "../error.h"
#include "../plain/shown.h"

namespace clap::inner {

namespace {

constexpr double silence = 0.0;               // the score of a label that a segment does not have
constexpr double rounding = 1e-4;             // seconds by which times may be off
constexpr std::int64_t most_smoothed = 9999;  // windows that are held

void check_number(const char* name, double value, const char* wanted) {
    if (!std::isfinite(value))
        throw Error(Code::argument,
                    std::string(name) + "=" + to_text(value) + ": pass " + wanted + ".");
}

}  // namespace

void Rule::check() const {
    check_number("on", on, "a finite number");
    if (off) check_number("off", *off, "a finite number");
    if (!(until() > 0.0 && until() <= on && on <= 1.0))
        throw Error(
            Code::argument,
            "on=" + to_text(on) + ", off=" + (off ? to_text(*off) : "None") +
                ": pass scores above 0, which silence has, and up to 1, and an `off` that is not "
                "above `on`.");
    for (const auto& [name, value] :
         {std::make_pair("minimum", minimum), std::make_pair("gap", gap)}) {
        check_number(name, value, "a number of seconds");
        if (value < 0.0)
            throw Error(Code::argument,
                        std::string(name) + "=" + to_text(value) + ": pass at least 0 seconds.");
    }
}

Events::Events(const Rule& rule, std::int64_t smooth, const std::string& smoothing)
    : rule_(rule), median_(smoothing == "median") {
    rule.check();
    if (smooth < 1 || smooth > most_smoothed)
        throw Error(
            Code::argument,
            "smooth=" + std::to_string(smooth) + ": pass " +
                (smooth < 1 ? "at least 1." : "at most " + std::to_string(most_smoothed) + "."));
    if (smooth % 2 == 0)
        throw Error(Code::argument,
                    "smooth=" + std::to_string(smooth) + ": pass an odd number of windows.");
    if (!median_ && smoothing != "mean")
        throw Error(Code::argument,
                    "smoothing=" + shortly(smoothing) + ": pass 'median' or 'mean'.");
    half_ = static_cast<std::size_t>(smooth / 2);
}

std::vector<Event> Events::push(const Segment& segment) {
    std::vector<Event> found;
    if (!recent_.empty()) {
        const Span& newest = recent_.back().span;
        if (segment.start < newest.start)
            throw Error(Code::argument, "a segment at " + fixed(segment.start, 3) +
                                            " s came behind one at " + fixed(newest.start, 3) +
                                            " s: give them in order of time.");
        if (segment.start > newest.end + rounding) {  // a hole
            rest(found);
            pause();
        }
    }
    Scored window{{segment.start, segment.end}, {}, {}};
    for (const Prediction& one : segment.predictions) window.add(one.label, one.score);
    recent_.push_back(std::move(window));
    if (recent_.size() > 2 * half_ + 1) recent_.pop_front();
    if (++waiting_ > half_) decide(next(), found);
    return found;
}

std::vector<Event> Events::finish() {
    std::vector<Event> found;
    rest(found);
    pause();
    for (const State& state : states_) state.close(rule_, found);
    states_.clear();
    return found;
}

void Events::rest(std::vector<Event>& found) {
    while (waiting_) decide(next(), found);
    recent_.clear();
}

void Events::pause() {
    if (before_)
        for (State& state : states_) {
            state.settle(before_->end);
            state.on = false;
        }
    before_.reset();
}

Events::Scored Events::next() {
    const std::size_t at = recent_.size() - waiting_--;
    const std::size_t first = at > half_ ? at - half_ : 0,
                      last = std::min(recent_.size(), at + half_ + 1);
    if (last - first == 1) return recent_[first];
    Scored found{recent_[at].span, {}, {}};
    for (std::size_t i = first; i < last; ++i)
        for (const std::string& label : recent_[i].labels) {
            if (found.scores.count(label)) continue;
            std::vector<double> values;
            for (std::size_t j = first; j < last; ++j) values.push_back(recent_[j].of(label));
            found.add(label, smoothed(std::move(values)));
        }
    return found;
}

double Events::smoothed(std::vector<double> values) const {
    if (!median_) {
        double sum = 0.0;
        for (double value : values) sum += value;
        return sum / static_cast<double>(values.size());
    }
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void Events::Scored::add(const std::string& label, double score) {
    if (scores.emplace(label, score).second) labels.push_back(label);
}

double Events::Scored::of(const std::string& label) const {
    const auto found = scores.find(label);
    return found == scores.end() ? silence : found->second;
}

void Events::decide(const Scored& window, std::vector<Event>& found) {
    const double centre = window.span.centre();
    double start = window.span.start;
    if (before_) {
        const double border = (before_->centre() + centre) / 2;
        start = std::max(start, border);
        for (State& state : states_) state.settle(std::min(before_->end, border));
    }
    before_ = window.span;
    std::vector<State> kept, fresh;
    std::vector<Event> began;
    const auto begin = [&](const std::string& label, double score) {
        if (score < rule_.on) return;
        fresh.push_back({label, start, start, -INFINITY, start});
        fresh.back().hear(rule_, score, centre, began);
    };
    // Those that are on come first, in the order in which they began; then new ones.
    std::unordered_set<std::string> open;
    for (State& state : states_) {
        open.insert(state.label);
        const double score = window.of(state.label);
        if (state.is_over(rule_, score, start, centre)) {
            state.close(rule_, found);
            begin(state.label, score);
        } else {
            state.hear(rule_, score, centre, began);
            kept.push_back(std::move(state));
        }
    }
    for (const std::string& label : window.labels)
        if (!open.count(label)) begin(label, window.of(label));
    states_ = std::move(kept);
    states_.insert(states_.end(), fresh.begin(), fresh.end());
    found.insert(found.end(), began.begin(), began.end());
}

void Events::State::settle(double border) {
    if (settled) return;
    end = border;
    settled = true;
}

bool Events::State::is_over(const Rule& rule, double score, double share, double centre) const {
    if (on && score >= rule.until()) return false;
    // Not on, what comes next begins behind this window's centre.
    return (score >= rule.on ? share : centre) - end >= rule.gap - rounding;
}

void Events::State::hear(const Rule& rule, double score, double centre, std::vector<Event>& found) {
    on = score >= (on ? rule.until() : rule.on);
    if (!on) return;
    end = centre;
    settled = false;
    if (score > peak) {
        peak = score;
        peak_at = centre;
    }
    if (said || !is_long(rule)) return;
    said = true;
    found.push_back(event(false));
}

void Events::State::close(const Rule& rule, std::vector<Event>& found) const {
    if (!is_long(rule)) return;
    if (!said) found.push_back(event(false));
    found.push_back(event(true));
}

bool Events::State::is_long(const Rule& rule) const {
    return end - start >= rule.minimum - rounding;
}

Event Events::State::event(bool ended) const {
    return {label, ended, start, end, peak, peak_at};
}

}  // namespace clap::inner
