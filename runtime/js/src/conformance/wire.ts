/** Arrays and answers as the lines of a conformance kit have them. */

import { type Tensor } from "../engines/engine.js";

/** A request's or an answer's value: plain JSON. */
export type Plain = null | boolean | number | string | Plain[] | { [key: string]: Plain };

export type Numbers = Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Uint8Array;

/** An array of numbers with its shape. */
export interface Shaped {
  readonly data: Numbers;
  readonly shape: readonly number[];
}

const TYPES = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array,
  uint8: Uint8Array, bool: Uint8Array,
} as const;

type TypeName = keyof typeof TYPES;

export interface WireArray {
  readonly dtype: TypeName;
  readonly shape: readonly number[];
  readonly file?: string;
  readonly base64?: string;
}

/** An array from its bytes, which are little-endian as those of every machine that runs this. */
export function toArray({ dtype, shape }: WireArray, bytes: Uint8Array): Shaped {
  return { data: new TYPES[dtype](bytes.slice().buffer), shape };
}

/** What a task gives, as JSON. */
export function toWire(value: unknown): Plain {
  if (value instanceof Float32Array) return encode({ data: value, shape: [value.length] });
  if (isShaped(value)) return encode(value);
  if (Array.isArray(value)) return value.map(toWire);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toWire(item)]));
  }
  return value as Plain;
}

export function ofTensor({ data, dims }: Tensor): Shaped {
  return { data, shape: dims };
}

function isShaped(value: unknown): value is Shaped {
  return typeof value === "object" && value !== null && "data" in value && "shape" in value;
}

function encode({ data, shape }: Shaped): Plain {
  const dtype = (Object.keys(TYPES) as TypeName[]).find((name) => data instanceof TYPES[name]) as TypeName;
  return { dtype, shape: [...shape], base64: base64(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) };
}

const PIECE = 1 << 15; // arguments of one call

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(text);
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
