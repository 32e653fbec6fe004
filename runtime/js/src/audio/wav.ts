/** WAV files: PCM of 8 to 32 bits, floats, A-law and mu-law, of any number of channels. */

import { AudioError } from "../errors.js";
import { checkRate, MAX_CHANNELS } from "./levels.js";
import { type Part, Undecodable } from "./wav-structure.js";

const PCM = 1;
const FLOAT = 3;
const A_LAW = 6;
const MU_LAW = 7;
const EXTENSIBLE = 0xfffe;
// The end of an extensible coding's name, of which the number above is the beginning: Microsoft's, and that of
// ambisonic recordings. Behind any other end the number means something else.
const ENDS = ["800000aa00389b71", "8644c8c1ca000000"];

/** How the samples of a part lie in its bytes. */
export interface Form {
  readonly rate: number;
  readonly channels: number;
  /** Of one value. */
  readonly bytes: number;
  /** They were integers, and need no look at their values. */
  readonly integers: boolean;
  value(view: DataView, at: number): number;
}

/**
 * @param name of the file, for sentences.
 * @throws Undecodable a header that is none, or a coding that is not read.
 * @throws AudioError a rate or a number of channels that is not taken.
 */
export function formOf({ chunks }: Part, little: boolean, name: string): Form {
  const format = chunks.get("fmt ");
  if (format === undefined || format.length < 16) throw new Undecodable("Error in WAV file. No 'data' chunk marker");
  const view = new DataView(format.buffer, format.byteOffset, format.byteLength);
  let coding = view.getUint16(0, little);
  if (coding === EXTENSIBLE && format.length >= 26) {
    const end = Array.from(format.subarray(32, 40), (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (!ENDS.some((known) => known.startsWith(end))) throw new Undecodable("File contains data in an unimplemented format");
    coding = view.getUint16(24, little);
  }
  const channels = view.getUint16(2, little);
  const rate = view.getUint32(4, little);
  const bits = view.getUint16(14, little);
  if (channels === 0) throw new Undecodable("Channel count is zero");
  if (rate === 0) throw new Undecodable("Internal error : SF_INFO struct incomplete");
  checkRate(rate, name);
  if (channels > MAX_CHANNELS) {
    throw new AudioError(
      `${name} has ${channels} channels; at most ${MAX_CHANNELS} are taken. Mix it down, or pass the channels that are ` +
        "wanted as an array.",
    );
  }
  const bytes = Math.ceil(bits / 8);
  const value = reader(coding, bytes, little);
  if (value === null) throw new Undecodable(`coding ${coding} of ${bits} bits is not read here`);
  return { rate, channels, bytes, integers: coding === PCM && bytes === 2, value };
}

function reader(coding: number, bytes: number, little: boolean): Form["value"] | null {
  if (coding === A_LAW && bytes === 1) return (view, at) => aLaw(view.getUint8(at));
  if (coding === MU_LAW && bytes === 1) return (view, at) => muLaw(view.getUint8(at));
  if (coding === FLOAT && bytes === 4) return (view, at) => view.getFloat32(at, little);
  if (coding === FLOAT && bytes === 8) return (view, at) => view.getFloat64(at, little);
  if (coding !== PCM) return null;
  if (bytes === 1) return (view, at) => (view.getUint8(at) - 128) / 128;
  if (bytes === 2) return (view, at) => view.getInt16(at, little) / 2 ** 15;
  if (bytes === 4) return (view, at) => view.getInt32(at, little) / 2 ** 31;
  if (bytes !== 3) return null;
  const [low, high] = little ? [0, 2] : [2, 0];
  return (view, at) => (view.getInt8(at + high) * 65536 + view.getUint8(at + 1) * 256 + view.getUint8(at + low)) / 2 ** 23;
}

/** ITU-T G.711: a sign, three bits of exponent and four of mantissa. */
function aLaw(coded: number): number {
  const bits = coded ^ 0x55;
  const [exponent, mantissa] = [(bits >> 4) & 7, bits & 15];
  const size = exponent === 0 ? (mantissa << 4) + 8 : ((mantissa << 4) + 0x108) << (exponent - 1);
  return (bits & 0x80 ? size : -size) / 2 ** 15;
}

function muLaw(coded: number): number {
  const bits = ~coded & 0xff;
  const size = ((((bits & 15) << 3) + 0x84) << ((bits >> 4) & 7)) - 0x84;
  return (bits & 0x80 ? -size : size) / 2 ** 15;
}

/** Frames of a part as float32 channels, a block at a time. */
export function* frames({ samples }: Part, form: Form, block: number): Generator<Float32Array[]> {
  const { channels, bytes, value } = form;
  const view = new DataView(samples.buffer, samples.byteOffset, samples.byteLength);
  const total = Math.floor(samples.length / (channels * bytes));
  for (let start = 0; start < total; start += block) {
    const count = Math.min(block, total - start);
    yield Array.from({ length: channels }, (_, channel) => {
      const found = new Float32Array(count);
      let at = (start * channels + channel) * bytes;
      for (let i = 0; i < count; i += 1, at += channels * bytes) found[i] = value(view, at);
      return found;
    });
  }
}
