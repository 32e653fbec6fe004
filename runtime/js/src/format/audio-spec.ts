/** What an audio graph takes: rate, window, fill, and the mel frontend inside it. */

import { choice, flag, maybe, number, type Of, optional, record, whole } from "../text/schema.js";

// Far above what any model has, and far below what would ask for all memory of a machine.
const MOST_RATE = 768_000; // Hz
const MOST_OVERLAP = 64; // windows over one sample, by the manifest's hop
export const COUNT = whole(1, 2 ** 16); // mel bins, dimensions, tokens
const RATE = whole(1, MOST_RATE);
const SAMPLES = whole(1, 2 ** 24); // of a window
const HERTZ = number(0, MOST_RATE);

export const MEL = record({
  sample_rate: RATE,
  n_fft: COUNT,
  hop_length: COUNT,
  n_mels: COUNT,
  f_min: HERTZ,
  f_max: HERTZ,
  scale: choice("slaney", "htk"),
  norm: maybe(choice("slaney")),
  amin: number(0, 1),
});

export const AUDIO_SPEC = record(
  {
    sample_rate: RATE,
    window_samples: SAMPLES,
    hop_samples: SAMPLES,
    fill: choice("repeat", "repeatpad", "pad"),
    int16_round_trip: flag,
    mel: MEL,
    long_clips: optional(choice("windows", "fusion"), () => "windows" as const),
  },
  ({ sample_rate, window_samples, hop_samples }) => {
    const lengths = `hop_samples=${hop_samples}, window_samples=${window_samples}`;
    if (hop_samples > window_samples) {
      return `sample_rate=${sample_rate}, ${lengths}: all must be at least 1, and the hop at most the window`;
    }
    if (hop_samples * MOST_OVERLAP < window_samples) {
      return `${lengths}: the hop must be a ${MOST_OVERLAP}th of the window or more`;
    }
    return null;
  },
);

export type AudioSpec = Of<typeof AUDIO_SPEC>;
export type Fill = AudioSpec["fill"];
