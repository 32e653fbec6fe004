/** From one sample rate to another, in blocks; together they are what the whole recording gives. */

import { AudioError } from "../errors.js";
import { type Filter, filterOf, type Kind } from "./filter.js";

export class Resampler {
  private readonly down: number;
  private readonly up: number;
  private readonly filter: Filter | null;
  private held: Float64Array;
  private count = 0; // of held samples that are there
  private first = 0; // place in the recording of the first held sample
  private base = 0; // place of the next output sample: base + phase / up
  private phase = 0;
  private taken = 0;
  private given = 0;

  /**
   * @param rate of the blocks, in Hz.
   * @param target wanted, in Hz. When the rates are equal, nothing is changed.
   */
  constructor(
    rate: number,
    target: number,
    private readonly kind: Kind = "soxr",
  ) {
    const shared = divisor(rate, target);
    [this.down, this.up] = [rate / shared, target / shared];
    this.filter = rate === target ? null : filterOf(kind, this.down, this.up);
    // Before the recording there is silence.
    const before = this.filter?.before ?? 0;
    this.held = new Float64Array(1 << 14);
    this.count = before;
    this.first = -before;
  }

  /** What is ready after another block. */
  push(block: Float32Array): Float32Array {
    if (this.filter === null) return block;
    this.taken += block.length;
    this.hold(block, block.length);
    return this.ready(this.filter, Infinity);
  }

  /** What was held back. */
  finish(): Float32Array {
    if (this.filter === null) return new Float32Array();
    const total = this.length();
    this.hold(null, this.filter.taps + this.down + 1); // behind the recording there is silence
    const found = this.ready(this.filter, total - this.given);
    const missing = total - this.given; // a product that should be whole may come out a hair above it
    if (missing <= 0) return found;
    const padded = new Float32Array(found.length + missing);
    padded.set(found);
    return padded;
  }

  /** Of the whole recording, in output samples. */
  private length(): number {
    const { taken, up, down, kind } = this;
    if (kind === "soxr") return Math.floor((2 * taken * up + down) / (2 * down));
    return Math.ceil(kind === "librosa" ? taken * (up / down) : Math.fround((up * taken) / down));
  }

  private hold(block: Float32Array | null, more: number): void {
    const wanted = this.base - (this.filter?.before ?? 0) - this.first; // none before it is needed any more
    if (wanted > 0) {
      this.held.copyWithin(0, Math.min(wanted, this.count), this.count);
      this.first += Math.min(wanted, this.count);
      this.count -= Math.min(wanted, this.count);
    }
    if (this.count + more > this.held.length) {
      const larger = new Float64Array(2 * (this.count + more));
      larger.set(this.held.subarray(0, this.count));
      this.held = larger;
    }
    if (block) this.held.set(block, this.count);
    else this.held.fill(0, this.count, this.count + more);
    this.count += more;
  }

  /** At most so many samples, as far as their input is there. */
  private ready(filter: Filter, most: number): Float32Array {
    const { taps, before, phases, between, table } = filter;
    const { held, up, down } = this;
    // The last position whose input is there: base + taps - before - 1 < first + count.
    const room = this.first + this.count - (taps - before) - this.base;
    const possible = room < 0 ? 0 : Math.floor((room * up + up - 1 - this.phase) / down) + 1;
    const found = new Float32Array(Math.max(0, Math.min(possible, most)));
    const [whole, rest] = [Math.floor(down / up), down % up];
    for (let i = 0; i < found.length; i += 1) {
      const start = this.base - before - this.first;
      if (between) {
        const place = (this.phase / up) * phases;
        const row = Math.floor(place);
        found[i] =
          (row + 1 - place) * dot(held, start, table, row * taps, taps) +
          (place - row) * dot(held, start, table, (row + 1) * taps, taps);
      } else {
        found[i] = dot(held, start, table, this.phase * taps, taps);
      }
      this.base += whole;
      this.phase += rest;
      if (this.phase >= up) {
        this.phase -= up;
        this.base += 1;
      }
    }
    this.given += found.length;
    return found;
  }
}

/** Four sums, that additions need not wait for each other. */
function dot(x: Float64Array, i: number, y: Float64Array, j: number, n: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const even = i + n - (n % 4);
  for (; i < even; i += 4, j += 4) {
    a += (x[i] as number) * (y[j] as number);
    b += (x[i + 1] as number) * (y[j + 1] as number);
    c += (x[i + 2] as number) * (y[j + 2] as number);
    d += (x[i + 3] as number) * (y[j + 3] as number);
  }
  for (const end = i + (n % 4); i < end; i += 1, j += 1) a += (x[i] as number) * (y[j] as number);
  return a + b + (c + d);
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}

/**
 * A whole recording at another rate.
 *
 * @throws AudioError it is shorter than one sample of the target.
 */
export function resample(samples: Float32Array, rate: number, target: number, kind: Kind = "soxr"): Float32Array {
  if (rate === target) return samples;
  const resampler = new Resampler(rate, target, kind);
  const found = joined([resampler.push(samples), resampler.finish()]);
  if (found.length === 0) {
    throw new AudioError(
      `the recording is too short: ${samples.length} samples at ${rate} Hz are less than one at ${target} Hz.`,
    );
  }
  return found;
}

/** Blocks one after the other. */
export function joined(blocks: readonly Float32Array[]): Float32Array {
  const full = blocks.filter((block) => block.length > 0);
  if (full.length === 1) return full[0] as Float32Array;
  const found = new Float32Array(full.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of full) {
    found.set(block, at);
    at += block.length;
  }
  return found;
}
