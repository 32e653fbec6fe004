// A stream heard as it comes: chunks of any size to the segments of the whole recording.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../audio/resampler.h"
#include "../classifier.h"
#include "../clips/cutter.h"

namespace clap::inner {

class Listener {
  public:
    // `sample_rate`: of the chunks, in Hz. `hop`: seconds between the starts of windows. `gate`:
    // dBFS; a window is not heard when each stretch of a hop's length in it has a lower RMS.
    Listener(std::shared_ptr<const Classifier> classifier, double sample_rate, double hop,
             std::optional<double> gate);

    // Hears the next samples (see Source::array); returns the segments that became complete.
    std::vector<Segment> feed(const Source& chunk);
    // A stretch of the stream is missing; the clock goes on over it.
    std::vector<Segment> gap(double seconds);
    // Ends the recording: the window that is aligned to its end is heard too.
    std::vector<Segment> flush();

    double seconds() const;  // the clock: when the next chunk's first sample is
    std::int64_t silent() const { return silent_; }  // windows that the gate kept from the encoder

  private:
    void begin();
    void end();
    void hear(const std::vector<float>& samples);
    void push(std::vector<float> samples);
    void classify(std::vector<Cut>& batch);
    void guarded(const std::function<void()>& work);
    std::vector<Segment> taken();
    std::vector<float> checked(const Source& chunk);

    std::shared_ptr<const Classifier> classifier_;
    AudioSpec spec_;
    Policy policy_;
    std::int64_t rate_, hop_;
    std::optional<double> gate_;
    std::string form_;  // type of the first chunk, and its channels
    std::size_t channels_ = 0;
    std::int64_t samples_ = 0;  // fed so far, bridged ones too
    std::int64_t silent_ = 0;
    double missing_ = 0.0, owed_ = 0.0, base_ = 0.0;
    bool begun_ = false;
    std::vector<Segment> found_;
    std::unique_ptr<Resampler> resampler_;
    std::unique_ptr<Cutter> cutter_;
};

// Of the loudest stretch, in dBFS.
double loudness(const float* samples, std::int64_t count, std::int64_t stretch);

}  // namespace clap::inner
