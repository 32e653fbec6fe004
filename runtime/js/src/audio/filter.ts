/**
 * The low-pass filters under a change of sample rate: a sinc under a window, sampled at every position between input
 * samples that an output sample can have.
 *
 * `soxr` is the filter of soxr's high quality, by its published parameters (soxr's `HQ` recipe: 20 bits, linear
 * phase): it passes up to 0.9136 of the lower Nyquist frequency and stops at that frequency, 126 dB down; here under a
 * Kaiser window (J. F. Kaiser, 1974, for its length and shape). `torchaudio` is torchaudio's default: six zero
 * crossings under a Hann window, cut off at 0.99 of the lower Nyquist frequency.
 */

import { STEP } from "./products.js";

export type Kind = "soxr" | "torchaudio" | "librosa";

/** Weights of output samples on input samples, for positions between input samples. */
export interface Filter {
  /** Input samples under the filter, with zeros at its end. */
  readonly taps: number;
  /** Of them, those at or before the output's own position. */
  readonly before: number;
  /** Positions that the table has; with `between`, one more than they are. */
  readonly phases: number;
  /** Positions lie between those of the table: weights are taken between two rows. */
  readonly between: boolean;
  /** `[phases (+ 1), taps]`. */
  readonly table: Float32Array;
}

const BITS = 20;
const DECIBELS = (BITS + 1) * 20 * Math.log10(2);
const REJECTION = BITS * 20 * Math.log10(2);
const PASS = 1 - 0.05 / ((1.6e-6 * REJECTION - 7.5e-4) * REJECTION + 0.646); // of the lower Nyquist frequency
const CUTOFF = (PASS + 1) / 2;
const BETA = 0.1102 * (DECIBELS - 8.7);
const REACH = (DECIBELS - 7.95) / (2.285 * Math.PI * (1 - PASS)) / 2; // samples of the lower rate, to each side
const CROSSINGS = 6;
const ROLLOFF = 0.99;
const MOST_PHASES = 2048; // with weights between two of so many, errors are below 1e-7

const kept = new Map<string, Filter>(); // a table takes longer to make than a window to resample
const MOST_KEPT = 4;

/**
 * @param down input samples for each `up` output samples, in lowest terms.
 */
export function filterOf(kind: Kind, down: number, up: number): Filter {
  const key = `${kind === "torchaudio"} ${down} ${up}`;
  const found = kept.get(key);
  if (found !== undefined) return found;
  const made = design(kind === "torchaudio" ? hannSinc(down, up) : kaiserSinc(down, up), up);
  if (kept.size >= MOST_KEPT) kept.delete(kept.keys().next().value as string);
  kept.set(key, made);
  return made;
}

interface Impulse {
  /** Input samples that it reaches, to each side. */
  readonly reach: number;
  /** Its value, by the distance in input samples. */
  at(distance: number): number;
}

function design({ reach, at }: Impulse, up: number): Filter {
  const between = up > MOST_PHASES;
  const phases = between ? MOST_PHASES : up;
  const before = Math.ceil(reach);
  const taps = Math.ceil((2 * before + 1) / STEP) * STEP;
  const table = new Float32Array((between ? phases + 1 : phases) * taps);
  for (let row = 0; row * taps < table.length; row += 1) {
    for (let tap = 0; tap < taps; tap += 1) table[row * taps + tap] = at(tap - before - row / phases);
  }
  return { taps, before, phases, between, table };
}

function kaiserSinc(down: number, up: number): Impulse {
  const low = Math.min(1, up / down);
  const reach = REACH / low;
  const top = bessel(BETA);
  const cutoff = CUTOFF * low;
  return {
    reach,
    at(distance) {
      const place = distance / reach;
      if (Math.abs(place) >= 1) return 0;
      return cutoff * sinc(cutoff * distance) * (bessel(BETA * Math.sqrt(1 - place * place)) / top);
    },
  };
}

function hannSinc(down: number, up: number): Impulse {
  const cutoff = Math.min(1, up / down) * ROLLOFF;
  return {
    reach: CROSSINGS / cutoff,
    at(distance) {
      const place = distance * cutoff;
      if (Math.abs(place) >= CROSSINGS) return 0;
      return cutoff * sinc(place) * Math.cos((place * Math.PI) / CROSSINGS / 2) ** 2;
    },
  };
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** The modified Bessel function of the first kind, of order 0. */
function bessel(x: number): number {
  let [sum, term] = [1, 1];
  for (let n = 1; term > sum * 1e-17; n += 1) {
    term *= (x / (2 * n)) ** 2;
    sum += term;
  }
  return sum;
}
