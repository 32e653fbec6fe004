/** A bundle whose files are in memory, by name. */

import type { BundleSource } from "./source.js";

export type Bytes = ArrayBuffer | Uint8Array;

export class MemorySource implements BundleSource {
  private readonly files: ReadonlyMap<string, Bytes>;

  constructor(
    files: ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>,
    readonly name = "the bundle in memory",
  ) {
    this.files = files instanceof Map ? files : new Map(Object.entries(files));
  }

  async size(file: string): Promise<number | null> {
    return this.files.get(file)?.byteLength ?? null;
  }

  async read(file: string): Promise<Uint8Array | null> {
    const found = this.files.get(file);
    return found === undefined ? null : view(found);
  }
}

export function view(data: Bytes): Uint8Array {
  return data instanceof Uint8Array ? data : new Uint8Array(data);
}
