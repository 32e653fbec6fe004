/** A label that is on, or was less than its gap ago. */

import type { Rule } from "./rule.js";

export const ROUNDING = 1e-4; // seconds by which times may be off: more than a sample of a model

/** A label that was on; times in seconds on the clock of the segments. */
export interface Event {
  readonly label: string;
  /** `began` when it is known to be an event, `ended` when it is known to be over. */
  readonly phase: "began" | "ended";
  readonly start: number;
  /** When it ended; so far, of one that began. */
  readonly end: number;
  /** Its highest score, smoothed; so far, of one that began. */
  readonly peak: number;
  /** The centre of the window that has it. */
  readonly peakAt: number;
}

export class State {
  /** Whether it was told that the event began. */
  said = false;
  private end: number; // so far, while it is on
  private on = true;
  private settled = true; // whether the end of its last share is known
  private peak = -Infinity;
  private peakAt: number;

  constructor(
    private readonly label: string,
    private readonly rule: Rule,
    private readonly start: number,
  ) {
    this.end = start;
    this.peakAt = start;
  }

  /** Where the last window's share ends, now that the next one is known. */
  settle(border: number): void {
    if (this.settled) return;
    this.end = border;
    this.settled = true;
  }

  /** The last window is next to nothing. */
  pause(end: number): void {
    this.settle(end);
    this.on = false;
  }

  /** Whether a window with this score, of this share, is no part of the event. */
  isOver(score: number, start: number, centre: number): boolean {
    if (this.on && score >= this.rule.until) return false;
    // Not on, what comes next begins behind this window's centre.
    const next = score >= this.rule.on ? start : centre;
    return next - this.end >= this.rule.gap - ROUNDING;
  }

  /** A window that does not end the event. */
  hear(score: number, centre: number): Event[] {
    this.on = score >= (this.on ? this.rule.until : this.rule.on);
    if (!this.on) return [];
    this.end = centre;
    this.settled = false;
    if (score > this.peak) [this.peak, this.peakAt] = [score, centre];
    if (this.said || !this.isLong()) return [];
    this.said = true;
    return [this.event("began")];
  }

  /** What it was, if it was long enough. */
  close(): Event[] {
    if (!this.isLong()) return [];
    const ended = this.event("ended");
    return this.said ? [ended] : [{ ...ended, phase: "began" }, ended];
  }

  /** As it is known now. */
  event(phase: Event["phase"]): Event {
    const { label, start, end, peak, peakAt } = this;
    return { label, phase, start, end, peak, peakAt };
  }

  private isLong(): boolean {
    return this.end - this.start >= this.rule.minimum - ROUNDING;
  }
}
