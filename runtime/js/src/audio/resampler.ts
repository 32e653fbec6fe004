/** From one sample rate to another, in blocks; together they are what the whole recording gives. */

import { AudioError } from "../errors.js";
import { type Filter, filterOf, type Kind } from "./filter.js";
import { Products } from "./products.js";

const PIECE = 1 << 18; // samples of a whole recording that are held at once

export class Resampler {
  private readonly down: number;
  private readonly up: number;
  private readonly filter: Filter | null;
  private readonly products: Products | null;
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
    this.products = this.filter && new Products(this.filter.table);
    this.count = before;
    this.first = -before;
  }

  /** What is ready after another block. */
  push(block: Float32Array): Float32Array {
    const { filter, products } = this;
    if (filter === null || products === null) return block;
    this.taken += block.length;
    this.hold(filter, products, block, block.length);
    return this.ready(filter, products, Infinity);
  }

  /** What was held back. */
  finish(): Float32Array {
    const { filter, products } = this;
    if (filter === null || products === null) return new Float32Array();
    const total = this.length();
    this.hold(filter, products, null, filter.taps + this.down + 1); // behind the recording there is silence
    const found = this.ready(filter, products, total - this.given);
    const missing = total - this.given; // a product that should be whole may come out a hair above it
    return missing > 0 ? joined([found, new Float32Array(missing)]) : found;
  }

  /** Of the whole recording, in output samples. */
  private length(): number {
    const { taken, up, down, kind } = this;
    if (kind === "soxr") return Math.floor((2 * taken * up + down) / (2 * down));
    return Math.ceil(kind === "librosa" ? taken * (up / down) : Math.fround((up * taken) / down));
  }

  private hold(filter: Filter, products: Products, block: Float32Array | null, more: number): void {
    const passed = Math.min(this.count, this.base - filter.before - this.first); // which none needs any more
    if (passed > 0) {
      products.samples.copyWithin(0, passed, this.count);
      this.first += passed;
      this.count -= passed;
    }
    products.reserve(this.count + more);
    if (block) products.samples.set(block, this.count);
    else products.samples.fill(0, this.count, this.count + more);
    this.count += more;
  }

  /** At most so many samples, as far as their input is there. */
  private ready({ taps, before, phases, between }: Filter, products: Products, most: number): Float32Array {
    const { up, down } = this;
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
          (row + 1 - place) * products.dot(start, row * taps, taps) +
          (place - row) * products.dot(start, (row + 1) * taps, taps);
      } else {
        found[i] = products.dot(start, this.phase * taps, taps);
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
  const found: Float32Array[] = [];
  for (let at = 0; at < samples.length; at += PIECE) found.push(resampler.push(samples.subarray(at, at + PIECE)));
  const result = joined([...found, resampler.finish()]);
  if (result.length === 0) {
    throw new AudioError(
      `the recording is too short: its length in samples is ${samples.length} at ${rate} Hz, and 0 at ${target} Hz.`,
    );
  }
  return result;
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
