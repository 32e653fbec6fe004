/** Samples that wait to be heard, at most so many: what is more is dropped, and told as a gap. */

import { joined } from "../audio/resampler.js";

export interface Waiting {
  readonly samples: Float32Array;
  /** Samples that were dropped before these. */
  readonly missing: number;
}

export class Backlog {
  private chunks: Float32Array[] = [];
  private count = 0;
  private missing = 0;

  /** @param most samples that may wait. */
  constructor(private readonly most: number) {}

  push(chunk: Float32Array): void {
    this.chunks.push(chunk);
    this.count += chunk.length;
    while (this.count > this.most && this.chunks.length > 1) {
      const dropped = (this.chunks.shift() as Float32Array).length;
      this.count -= dropped;
      this.missing += dropped;
    }
  }

  /** All that waits, in one; null where nothing does. */
  take(): Waiting | null {
    if (this.count === 0) return null;
    const { missing } = this;
    const samples = joined(this.chunks);
    this.chunks = [];
    this.count = this.missing = 0;
    return { samples, missing };
  }
}
