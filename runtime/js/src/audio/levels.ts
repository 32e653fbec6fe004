/** Sample values: full scales, channels, and what no recording holds. */

import { AudioError } from "../errors.js";
import { general, shown } from "../text/pythonic.js";

export const MAX_CHANNELS = 32;
const MAX_PEAK = 100; // integers cast to floats are a mistake that would give confident nonsense
const INT16_SCALE = 32767; // of the round trip that some families were trained behind
const MIN_RATE = 1_000;
const MAX_RATE = 768_000;

/** PCM: floats in [-1, 1], or integers of full scale. */
export type PcmArray = Float32Array | Float64Array | Int16Array | Int32Array | Uint8Array;

const TYPES: Record<string, string> = {
  Float32Array: "float32", Float64Array: "float64", Int16Array: "int16", Int32Array: "int32", Uint8Array: "uint8",
  Int8Array: "int8", Uint16Array: "uint16", Uint32Array: "uint32", BigInt64Array: "int64", BigUint64Array: "uint64",
};
const TAKEN = ["float32", "float64", "int16", "int32", "uint8"];

/** The type of an array as numpy prints it; null for what is no array of numbers. */
export function typeOf(array: unknown): string | null {
  return TYPES[(array as object | null)?.constructor?.name ?? ""] ?? null;
}

/**
 * Channels of samples in memory as float32.
 *
 * @throws AudioError another type, or floats that are far out of scale.
 */
export function scaled(arrays: readonly PcmArray[], name: string): Float32Array[] {
  const type = typeOf(arrays[0]);
  if (type === null || !TAKEN.includes(type)) {
    throw new AudioError(`${name} has dtype ${type}: pass floats in [-1, 1], or int16, int32 or uint8 PCM.`);
  }
  if (type.startsWith("float")) checkPeak(arrays, `${name} of ${type}`);
  return arrays.map(unitScale);
}

/**
 * A sample rate.
 *
 * @throws AudioError not a whole number, or outside what recordings have.
 */
export function checkRate(rate: unknown, name = "the recording"): number {
  if (!Number.isInteger(rate)) {
    throw new AudioError(`sample_rate is ${shown(rate)}: pass a whole number of Hz, such as 44100.`);
  }
  const value = rate as number;
  if (value < MIN_RATE || value > MAX_RATE) {
    throw new AudioError(
      `${name} has a sample rate of ${value} Hz; ${MIN_RATE} to ${MAX_RATE} Hz are taken. Check the rate (it is in Hz, ` +
        "not kHz).",
    );
  }
  return value;
}

/** Mixes blocks of a recording down, and remembers what is wrong with their values. */
export class Levels {
  private seen = 0;
  private bad = 0;
  private first = 0;

  constructor(private readonly name: string) {}

  /**
   * The mean over channels of a block; of one with samples that are not finite, those before the first of them, and
   * the next call throws.
   *
   * @throws AudioError it is louder than a recording can be, or the block before it was not finite.
   */
  mono(channels: readonly Float32Array[], integers = false): Float32Array {
    if (this.bad) this.check();
    if (!integers) checkPeak(channels, this.name);
    const found = (channels[0] ?? new Float32Array()).slice();
    for (const channel of channels.slice(1)) {
      for (let i = 0; i < found.length; i += 1) found[i] = (found[i] as number) + (channel[i] as number);
    }
    if (channels.length > 1) for (let i = 0; i < found.length; i += 1) found[i] = (found[i] as number) / channels.length;
    const before = this.seen;
    this.seen += found.length;
    const first = integers ? -1 : found.findIndex((value) => !Number.isFinite(value));
    if (first < 0) return found;
    this.first = before + first;
    this.bad = found.reduce((sum, value) => sum + (Number.isFinite(value) ? 0 : 1), 0);
    return found.subarray(0, first);
  }

  /**
   * Look back at all blocks.
   *
   * @throws AudioError there were values that are not finite, or none at all.
   */
  check(): void {
    if (this.bad) {
      throw new AudioError(
        `${this.name} has NaN or infinite samples (${this.bad}, the first at index ${this.first}). Repair the ` +
          "recording.",
      );
    }
    if (!this.seen) throw new AudioError(`${this.name} holds no audio: 0 samples. It may be truncated.`);
  }
}

/** @throws AudioError floats at the scale of integers; what is not finite is for {@link Levels}. */
function checkPeak(channels: readonly ArrayLike<number>[], name: string): void {
  let peak = 0;
  for (const channel of channels) {
    for (let i = 0; i < channel.length; i += 1) {
      const value = Math.abs(channel[i] as number);
      if (value > peak && value < Infinity) peak = value;
    }
  }
  if (peak > MAX_PEAK) {
    throw new AudioError(
      `${name} has a peak of ${general(peak)}: floats must lie in [-1, 1]. Divide it by its full scale (32768 for 16 ` +
        "bit), or pass the integers.",
    );
  }
}

/** One channel of any accepted type as float32 of full scale 1. */
function unitScale(channel: PcmArray): Float32Array {
  if (channel instanceof Float32Array) return channel;
  if (channel instanceof Float64Array) return Float32Array.from(channel);
  const [offset, scale] = channel instanceof Uint8Array ? [128, 128] : [0, channel instanceof Int16Array ? 2 ** 15 : 2 ** 31];
  const found = new Float32Array(channel.length);
  for (let i = 0; i < found.length; i += 1) found[i] = ((channel[i] as number) - offset) / scale;
  return found;
}

/** Clip to [-1, 1] and truncate to the int16 grid, as some families were trained. */
export function roundTripInt16(samples: Float32Array): Float32Array {
  return samples.map((value) => Math.trunc(Math.fround(Math.min(Math.max(value, -1), 1) * INT16_SCALE)) / INT16_SCALE);
}
