/** Windows cut as the samples come: the same as of the whole clip, at a fixed memory. */

import type { AudioSpec } from "../format/audio-spec.js";
import type { Tail } from "./policy.js";
import { fill } from "./windows.js";

/** A window of a recording; `end` is where what it holds of the recording ends, in samples. */
export interface Cut {
  readonly start: number;
  readonly end: number;
  readonly row: Float32Array;
}

export class Cutter {
  private readonly starts: Iterator<number>;
  private readonly window: number;
  private next: number;
  private readonly data: Float32Array;
  private from = 0; // of the clip: where the data begin
  private total = 0; // and where they end
  private heard = 0; // end of the last window

  /**
   * @param spec length of a window, and how a clip that is shorter is filled.
   * @param starts of the windows in samples, ascending; may be endless.
   * @param tail of what is behind the last window that fits. `aligned`: one more window ends with the clip. `filled`:
   * the next window takes what is left, and is filled like a short clip. `dropped`: it is not heard, but in a clip
   * that is shorter than a window.
   */
  constructor(
    private readonly spec: AudioSpec,
    starts: Iterable<number>,
    private readonly tail: Tail,
  ) {
    this.window = spec.window_samples;
    this.starts = starts[Symbol.iterator]();
    this.next = this.following();
    this.data = new Float32Array(3 * this.window);
  }

  /** Whether no window is left that more samples could be wanted for. */
  get done(): boolean {
    return this.next === Infinity;
  }

  /** The windows that are complete after another block; to be taken before the next one is given. */
  *push(block: Float32Array): Generator<Cut> {
    for (let at = 0; at < block.length && !this.done; at += this.window) {
      this.keep(block.subarray(at, at + this.window));
      while (this.next + this.window <= this.total) {
        const start = this.next;
        this.next = this.following();
        yield this.cut(start, start + this.window);
      }
    }
  }

  /** The windows at the clip's end, if it has any more. */
  *finish(): Generator<Cut> {
    const end = this.total;
    if (this.done || end <= this.heard) return;
    if (end < this.window) yield this.cut(0, end);
    else if (this.tail === "aligned") yield this.cut(end - this.window, end);
    else if (this.tail === "filled" && this.next < end) yield this.cut(this.next, end);
  }

  private following(): number {
    const { done, value } = this.starts.next();
    return done ? Infinity : value;
  }

  /** Add at most a window of samples, and forget those that no window can need any more. */
  private keep(block: Float32Array): void {
    let used = this.total - this.from;
    if (used + block.length > this.data.length) {
      // An aligned window may still begin a window before the end, wherever the next one does.
      const kept = Math.min(used, Math.max(this.window, this.total - this.next));
      this.data.copyWithin(0, used - kept, used);
      this.from = this.total - kept;
      used = kept;
    }
    this.data.set(block, used);
    this.total += block.length;
  }

  private cut(start: number, end: number): Cut {
    this.heard = end;
    const samples = this.data.subarray(start - this.from, end - this.from);
    const row = samples.length < this.window ? fill(samples, this.window, this.spec.fill) : samples.slice();
    return { start, end, row };
  }
}
