// Events: when a label began and ended, from the scores of windows as they come.
//
// A window speaks for its share of the time: that which is nearer to its centre than to those of
// its neighbours. Its scores are smoothed with those of its neighbours. A label is on from a score
// of `on` until one below `off`; see runtime/listening/events.py.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "../classifier.h"

namespace clap::inner {

// When a label is an event.
struct Rule {
    double on = 0.5;
    std::optional<double> off;  // default that of `on`
    double minimum = 0.0;       // seconds; shorter events are dropped
    double gap = 0.0;           // seconds; events that are less than this apart are one

    void check() const;
    double until() const { return off.value_or(on); }
};

// A label that was on; times in seconds on the clock of the segments.
struct Event {
    std::string label;
    bool ended = false;  // else it began
    double start, end;   // `end` and `peak` so far, of one that began
    double peak, peak_at;
};

class Events {
  public:
    // `smooth`: windows that a score is smoothed over, an odd number. `smoothing`: "median" or
    // "mean".
    explicit Events(const Rule& rule, std::int64_t smooth = 1,
                    const std::string& smoothing = "median");

    // Events that began or ended, as far as the next segment shows; first those that ended.
    std::vector<Event> push(const Segment& segment);
    // The end of the stream: all that is open ends.
    std::vector<Event> finish();

  private:
    struct Span {
        double start, end;
        double centre() const { return (start + end) / 2; }
    };

    // A window, and scores of it by label; they keep the order of the predictions.
    struct Scored {
        Span span;
        std::vector<std::string> labels;
        std::unordered_map<std::string, double> scores;

        void add(const std::string& label, double score);
        double of(const std::string& label) const;
    };

    // A label that is on, or was less than its gap ago.
    struct State {
        std::string label;
        double start, end;  // `end` so far, while it is on
        double peak, peak_at;
        bool on = true, settled = true, said = false;

        void settle(double border);
        bool is_over(const Rule& rule, double score, double start, double centre) const;
        void hear(const Rule& rule, double score, double centre, std::vector<Event>& found);
        void close(const Rule& rule, std::vector<Event>& found) const;
        bool is_long(const Rule& rule) const;
        Event event(bool ended) const;
    };

    Scored next();
    double smoothed(std::vector<double> values) const;
    void rest(std::vector<Event>& found);
    void pause();
    void decide(const Scored& window, std::vector<Event>& found);

    Rule rule_;
    std::size_t half_;
    bool median_;
    std::deque<Scored> recent_;
    std::size_t waiting_ = 0;  // of the recent ones, for those behind them
    std::vector<State> states_;
    std::optional<Span> before_;  // the last one that was decided
};

}  // namespace clap::inner
