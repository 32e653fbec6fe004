/** Scores of windows smoothed with as many before as behind. */

import type { Segment } from "../classifier.js";

export const SILENCE = 0; // the score of a label that a segment does not have

export type Smoothing = "median" | "mean";

/** A window, and scores of it by label. */
export interface Scored {
  readonly segment: Segment;
  readonly scores: ReadonlyMap<string, number>;
}

export class Smoother {
  private readonly half: number;
  private recent: Scored[] = [];
  private waiting = 0; // of the recent ones, for those behind them

  constructor(
    private readonly size: number,
    private readonly smoothing: Smoothing,
  ) {
    this.half = Math.floor(size / 2);
  }

  /** The last window that came. */
  get newest(): Segment | undefined {
    return this.recent.at(-1)?.segment;
  }

  /** The window whose neighbours are known now. */
  push(window: Scored): Scored[] {
    this.recent.push(window);
    if (this.recent.length > this.size) this.recent.shift();
    this.waiting += 1;
    return this.waiting <= this.half ? [] : [this.next()];
  }

  /** Those that wait, with the neighbours that they have; then it is as new. */
  rest(): Scored[] {
    const found: Scored[] = [];
    while (this.waiting > 0) found.push(this.next());
    this.recent = [];
    return found;
  }

  private next(): Scored {
    const at = this.recent.length - this.waiting;
    const near = this.recent.slice(Math.max(0, at - this.half), at + this.half + 1);
    this.waiting -= 1;
    const own = this.recent[at] as Scored;
    if (near.length === 1) return near[0] as Scored;
    const labels = new Set(near.flatMap(({ scores }) => [...scores.keys()]));
    const scores = new Map<string, number>();
    for (const label of labels) scores.set(label, this.middle(near.map((window) => window.scores.get(label) ?? SILENCE)));
    return { segment: own.segment, scores };
  }

  private middle(values: number[]): number {
    if (this.smoothing === "mean") return values.reduce((sum, value) => sum + value, 0) / values.length;
    values.sort((a, b) => a - b);
    const half = values.length / 2;
    return Number.isInteger(half)
      ? ((values[half - 1] as number) + (values[half] as number)) / 2
      : (values[Math.floor(half)] as number);
  }
}
