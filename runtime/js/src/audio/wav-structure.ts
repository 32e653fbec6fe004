/**
 * The parts of a WAV file: what its headers say, and what is there. A file that was cut is read as far as it goes; one
 * whose header was never completed is read to its end; files that were joined come one after the other.
 */

/** A stretch of a file with a header of its own. */
export interface Part {
  /** Chunks before the samples, by name: the first of each. */
  readonly chunks: ReadonlyMap<string, Uint8Array>;
  readonly samples: Uint8Array;
}

export interface Structure {
  readonly parts: readonly Part[];
  /** What is wrong with the file, a clause. */
  readonly warning: string | null;
}

/** Why a file is no WAV that is read, a clause. */
export class Undecodable extends Error {}

const STALE = 1 << 16; // bytes behind the stated end that are taken for more samples
// Sizes that writers to a pipe put where they cannot know: ffmpeg all ones, sox a bit under 2 GiB.
const UNKNOWN_SIZE = 0x7ffff000;
const LONGEST = 2 ** 62; // bytes: in a chunk of 64 bits more stands for "not known"
const MOST_CHUNKS = 10_000;

export class WavFile {
  private readonly view: DataView;
  readonly little: boolean;

  /** @throws Undecodable it is no WAV. */
  constructor(private readonly data: Uint8Array) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const mark = this.name(0);
    if (!["RIFF", "RIFX", "RF64", "BW64"].includes(mark) || this.name(8) !== "WAVE") throw new Undecodable("Format not recognised");
    this.little = mark !== "RIFX";
  }

  structure(): Structure {
    const parts: Part[] = [];
    const warnings: string[] = [];
    let at: number | null = 0;
    while (at !== null) {
      const [part, next, warning] = this.part(at);
      parts.push(part);
      if (warning) warnings.push(warning);
      at = next;
    }
    return { parts, warning: warnings[0] ?? null };
  }

  private part(start: number): [Part, number | null, string | null] {
    const chunks = new Map<string, Uint8Array>();
    let at = start + 12;
    for (let i = 0; ; i += 1) {
      if (at + 8 > this.data.length || i === MOST_CHUNKS) throw new Undecodable("Error in WAV file. No 'data' chunk marker");
      const [name, size] = [this.name(at), this.size(at + 4)];
      if (name === "data") break;
      if (!chunks.has(name)) chunks.set(name, this.data.subarray(at + 8, at + 8 + size));
      at += 8 + size + (size % 2);
    }
    const body = at + 8;
    const left = this.data.length - body;
    const large = this.largeSize(at + 4, chunks);
    const size = large ?? this.size(at + 4);
    const upTo = (end: number): Part => ({ chunks, samples: this.data.subarray(body, end) });
    if (size > left) {
      const unknown = size >= (large === null ? UNKNOWN_SIZE : LONGEST);
      const warning = unknown ? null : `its header states ${size} bytes of samples and ${left} are there`;
      return [upTo(this.data.length), null, warning];
    }
    for (const behind of [body + size + (size % 2), body + size]) {
      const next = this.chain(behind, this.name(start));
      if (next !== undefined) return [upTo(body + size), next, null];
    }
    if (size && left - size < STALE) return [upTo(body + size), null, null];
    const warning = `its header was not completed: it states ${size} bytes of samples, and all ${left} were read`;
    return [upTo(this.data.length), null, warning];
  }

  /** Bytes of samples of a file beyond 4 GiB, which stand in a chunk of their own; null of others. */
  private largeSize(at: number, chunks: ReadonlyMap<string, Uint8Array>): number | null {
    const large = chunks.get("ds64");
    if (this.size(at) !== 0xffffffff || large === undefined || large.length < 16) return null;
    return Number(new DataView(large.buffer, large.byteOffset).getBigUint64(8, true));
  }

  /** Null where chunks follow up to the end; where another file begins, its place; else undefined. */
  private chain(at: number, first: string): number | null | undefined {
    for (let i = 0; i < MOST_CHUNKS && at + 1 < this.data.length; i += 1) {
      const name = this.name(at);
      if (name === first && this.name(at + 8) === "WAVE") return at;
      if (name.startsWith("TAG") || name.startsWith("ID3") || name === "APET") return null;
      if (at + 8 > this.data.length || !/^[\x20-\x7e]{4}$/.test(name)) return undefined;
      const size = this.size(at + 4);
      at += 8 + size + (size % 2);
      if (at > this.data.length + 1) return undefined;
    }
    return null;
  }

  private name(at: number): string {
    return String.fromCharCode(...this.data.subarray(at, at + 4));
  }

  private size(at: number): number {
    return at + 4 <= this.data.length ? this.view.getUint32(at, this.little) : 0;
  }
}
