/** Protobuf's wire format, read more strictly than protobuf does: what is not known is refused. */

const MOST_TEXT = 4096; // bytes of a name

export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

/** Fields of a message by number: how they are written, or in words what they are and may not be. */
export type Fields = Readonly<Record<number, number | readonly number[] | string>>;
export type Field = { number: number; value: number; bytes: null } | { number: number; value: null; bytes: Uint8Array };

/** Why a file is refused. */
export class Malformed extends Error {}

/** Fields of a message: a number for a varint, else a view of the bytes. */
export function* fields(data: Uint8Array, known: Fields, where: string): Generator<Field> {
  const cursor = new Cursor(data);
  while (!cursor.done) {
    const tag = cursor.varint();
    const [number, wire] = [Math.floor(tag / 8), tag & 7];
    const expected = known[number];
    if (typeof expected === "string") throw new Malformed(`it holds ${expected}`);
    if (wire !== expected && !(Array.isArray(expected) && expected.includes(wire))) {
      throw new Malformed(`its ${where} has a field (${number}, ${wire}) that is not known`);
    }
    if (wire === VARINT) {
      yield { number, value: cursor.varint(), bytes: null };
      continue;
    }
    const size = wire === BYTES ? cursor.varint() : wire === FIXED32 ? 4 : 8;
    yield { number, value: null, bytes: cursor.take(size) };
  }
}

class Cursor {
  private at = 0;

  constructor(private readonly data: Uint8Array) {}

  get done(): boolean {
    return this.at >= this.data.length;
  }

  take(size: number): Uint8Array {
    if (size < 0 || size > this.data.length - this.at) throw new Malformed("it is cut short");
    this.at += size;
    return this.data.subarray(this.at - size, this.at);
  }

  /** A signed number of 64 bits; of those beyond 2^53 the nearest that there is. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 49; shift += 7) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    let large = BigInt(value);
    for (let shift = 49n; ; shift += 7n) {
      if (shift > 63n) throw new Malformed("it is cut short");
      const byte = this.byte();
      large |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, large));
    }
  }

  private byte(): number {
    const byte = this.data[this.at];
    if (byte === undefined) throw new Malformed("it is cut short");
    this.at += 1;
    return byte;
  }
}

/** A list of varints, of at most so many. */
export function varints(data: Uint8Array, most: number): number[] {
  const found: number[] = [];
  const cursor = new Cursor(data);
  while (!cursor.done) {
    found.push(cursor.varint());
    if (found.length > most) throw new Malformed(`a list of more than ${most} numbers is not read`);
  }
  return found;
}

/** How many varints there are: each ends in a byte below 128. */
export function count(data: Uint8Array): number {
  return data.reduce((sum, byte) => sum + (byte < 128 ? 1 : 0), 0);
}

/** UTF-8 of at most so many bytes. */
export function text(data: Uint8Array, most = MOST_TEXT): string {
  if (data.length > most) throw new Malformed(`a name of ${data.length} bytes is too long`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new Malformed("a name in it is not UTF-8");
  }
}
