/** Recordings of any kind to mono samples at one rate. */

import { AudioError, ClapError } from "../errors.js";
import { type Bytes, view } from "../sources/memory.js";
import { general, shown, tuple } from "../text/pythonic.js";
import type { Kind } from "./filter.js";
import { checkRate, Levels, MAX_CHANNELS, type PcmArray, roundTripInt16, scaled, typeOf } from "./levels.js";
import { joined, resample, Resampler } from "./resampler.js";
import { formOf, frames } from "./wav.js";
import { Undecodable, WavFile } from "./wav-structure.js";

/** Samples in memory: of one channel, or of each. */
export interface Pcm {
  readonly samples: PcmArray | readonly PcmArray[];
  readonly rate: number;
}

/** A WAV file; its name is for sentences. Browsers decode other formats: see `clap-runtime/web`. */
export interface AudioFile {
  readonly bytes: Bytes;
  readonly name?: string;
}

export type Source = Pcm | AudioFile | Bytes;

/** Mono samples; `warning` says what is wrong with a file of which only a part could be read. */
export interface Recording {
  readonly samples: Float32Array;
  readonly rate: number;
  readonly warning: string | null;
}

export interface ReadOptions {
  /** To bring it to, in Hz; default its own. */
  readonly rate?: number;
  /** Longer recordings are refused. */
  readonly maxSeconds?: number;
  /** Seconds. A file that breaks off later than this is used as far as it went, with a warning. */
  readonly keepFrom?: number;
  readonly resampler?: Kind;
  /** Their mean, or one after the other, each resampled alone. */
  readonly channels?: "mean" | "strung";
  /** As some families were trained. */
  readonly int16RoundTrip?: boolean;
}

const BLOCK = 1 << 16; // values that are decoded at once, of all channels together
const UNSUPPORTED =
  "it is corrupt, truncated or of an unsupported format. Check the file, or convert it to WAV or FLAC.";

/**
 * Read a recording whole.
 *
 * @throws AudioError whatever is wrong with it.
 * @throws ClapError `maxSeconds` is no positive number.
 */
export function readRecording(source: Source, options: ReadOptions = {}): Recording {
  const limit = options.maxSeconds ?? Infinity;
  if (typeof limit !== "number" || !(limit > 0)) {
    throw new ClapError(`max_seconds=${shown(limit)}: pass a positive number of seconds, or infinity.`);
  }
  const file = fileOf(source);
  const { channels, rate, warning } = file ? fromFile(file, limit, options) : fromPcm(source as Pcm, limit, options);
  const target = options.rate ?? rate;
  const resampled = channels.map((channel) => resample(channel, rate, target, options.resampler));
  const samples = joined(resampled);
  return { samples: options.int16RoundTrip ? roundTripInt16(samples) : samples, rate: target, warning };
}

interface Channels {
  /** One, of their mean; or all of them. */
  readonly channels: readonly Float32Array[];
  readonly rate: number;
  readonly warning: string | null;
}

function fileOf(source: Source): { bytes: Uint8Array; name: string } | null {
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) {
    return { bytes: view(source), name: `the audio file in memory (${source.byteLength} bytes)` };
  }
  if (typeof source === "object" && source !== null && "bytes" in source) {
    const name = source.name ?? `the audio file in memory (${source.bytes.byteLength} bytes)`;
    return { bytes: view(source.bytes), name };
  }
  return null;
}

function fromPcm(source: Pcm, limit: number, { channels: mixing }: ReadOptions): Channels {
  const { arrays, shape } = arraysOf(source);
  const name = `the array of shape ${tuple(shape)}`;
  if (source.rate === undefined || source.rate === null) {
    throw new AudioError(`${name} came without its sample rate: pass sample_rate (in Hz).`);
  }
  const rate = checkRate(source.rate);
  const levels = new Levels(name);
  const length = arrays[0]?.length ?? 0;
  let found: Float32Array[] = [];
  if (length > 0) {
    checkLimit(length, rate, limit, name, false);
    const units = scaled(arrays, name);
    found = [levels.mono(units)];
    if (mixing === "strung") found = units;
  }
  levels.check();
  return { channels: found, rate, warning: null };
}

/** @throws AudioError what was given are no channels of equal length. */
export function arraysOf(source: Pcm): { arrays: readonly PcmArray[]; shape: number[] } {
  const given: unknown = (source as Pcm | undefined)?.samples;
  const alone = typeOf(given) !== null;
  const arrays = (alone ? [given] : given) as readonly PcmArray[];
  const even = Array.isArray(arrays) && arrays.every((a) => typeOf(a) && a.length === arrays[0]?.length);
  if (!even || arrays.length === 0) {
    throw new AudioError(
      "this is no recording: pass the bytes of a WAV file, or samples and their rate; samples are a typed array, or a " +
        "list of them, one a channel, of one length.",
    );
  }
  const length = arrays[0]?.length ?? 0;
  const shape = alone ? [length] : [arrays.length, length];
  if (length > 0 && arrays.length > MAX_CHANNELS) {
    throw new AudioError(
      `the array of shape ${tuple(shape)} would have ${arrays.length} channels (at most ${MAX_CHANNELS} are taken). ` +
        "Channels come first: transpose it with array.T",
    );
  }
  return { arrays, shape };
}

function fromFile({ bytes, name }: { bytes: Uint8Array; name: string }, limit: number, options: ReadOptions): Channels {
  if (bytes.length === 0) throw new AudioError(`${name} is empty (0 bytes).`);
  const levels = new Levels(name);
  const blocks: Float32Array[][] = [];
  let [rate, seconds] = [0, 0];
  const clauses: string[] = [];
  try {
    const file = new WavFile(bytes);
    const { parts, warning } = file.structure();
    if (warning) clauses.push(warning);
    for (const part of parts) {
      const form = formOf(part, file.little, name);
      rate ||= form.rate;
      const resamplers: Resampler[] = [];
      for (const block of frames(part, form, Math.max(1, Math.floor(BLOCK / form.channels)))) {
        seconds += (block[0]?.length ?? 0) / form.rate;
        checkLimit(seconds * form.rate, form.rate, limit, name, true);
        const mono = levels.mono(block, form.integers);
        const kept = options.channels === "strung" ? block.map((channel) => channel.subarray(0, mono.length)) : [mono];
        blocks.push(kept.map((channel, i) => (resamplers[i] ??= new Resampler(form.rate, rate)).push(channel)));
      }
      blocks.push(resamplers.map((resampler) => resampler.finish()));
    }
    levels.check();
  } catch (error) {
    if (error instanceof Undecodable) throw new AudioError(`${name} cannot be decoded (${error.message}): ${UNSUPPORTED}`);
    const used = blocks.reduce((sum, block) => sum + (block[0]?.length ?? 0), 0) / (rate || 1);
    if (!(error instanceof AudioError) || error instanceof TooLong || used < (options.keepFrom ?? Infinity)) throw error;
    clauses.push(`it breaks off (${error.message.replace(/\.$/, "")})`);
  }
  const channels = Array.from({ length: blocks[0]?.length ?? 0 }, (_, i) => joined(blocks.map((block) => block[i] ?? new Float32Array())));
  const used = (channels[0]?.length ?? 0) / rate;
  const warning = clauses.length > 0 ? `${name} may not be whole: ${clauses.join("; ")}. ${used.toFixed(1)} s of it are used.` : null;
  return { channels, rate, warning };
}

/** A recording lasts longer than the caller allowed: none of it is used. */
class TooLong extends AudioError {}

function checkLimit(frames: number, rate: number, seconds: number, name: string, soFar: boolean): void {
  if (frames <= seconds * rate) return;
  const found = soFar ? "longer" : `${(frames / rate).toFixed(0)} s, more`;
  throw new TooLong(
    `${name} lasts ${found} than the ${general(seconds)} s allowed. Cut it into shorter pieces, or raise \`max_seconds\`.`,
  );
}
