/**
 * Events: when a label began and ended, from the scores of windows as they come.
 *
 * 1. A window speaks for its share of the time: that which is nearer to its centre than to those of its neighbours, and
 *    inside it.
 * 2. A window's score is smoothed with those of its neighbours, as many before as behind it.
 * 3. A label is on from a score of `on` until one below `off`. Stretches that are less than `gap` apart are one event,
 *    and events shorter than `minimum` are none.
 */

import type { Segment } from "../classifier.js";
import { ClapError } from "../errors.js";
import { wholeNumber } from "../text/arguments.js";
import { shown } from "../text/pythonic.js";
import { Rule } from "./rule.js";
import { type Scored, SILENCE, Smoother, type Smoothing } from "./smoother.js";
import { type Event, ROUNDING, State } from "./state.js";

export interface EventsOptions {
  /** For every label. */
  readonly rule?: Rule;
  /** For single labels, in place of it. */
  readonly rules?: ReadonlyMap<string, Rule>;
  /** Labels of which events are wanted; default all. The others take their part of a softmax. */
  readonly only?: Iterable<string>;
  /** Windows that a score is smoothed over, an odd number. Decisions are made half as many windows later. */
  readonly smooth?: number;
  readonly smoothing?: Smoothing;
}

/**
 * Finds events in segments that come one after the other.
 *
 * Segments must have the scores of all labels: give their classifier no bounds. A label that a segment lacks is as in
 * silence there. Behind a hole in the time everything begins anew. Memory does not grow.
 */
export class Events {
  private readonly rule: Rule;
  private readonly rules: ReadonlyMap<string, Rule>;
  private readonly only: ReadonlySet<string> | null;
  private readonly smoother: Smoother;
  private readonly states = new Map<string, State>();
  private before: Segment | null = null; // the last one that was decided

  /** @throws ClapError an argument is out of range. */
  constructor(options: EventsOptions = {}) {
    const { smooth = 1, smoothing = "median", only } = options;
    this.rule = options.rule ?? new Rule();
    this.rules = options.rules ?? new Map();
    if (typeof only === "string") throw new ClapError(`only=${shown(only)}: pass several labels, in a list.`);
    this.only = only === undefined ? null : new Set(only);
    if (wholeNumber("smooth", smooth) % 2 === 0) throw new ClapError(`smooth=${smooth}: pass an odd number of windows.`);
    if (smoothing !== "median" && smoothing !== "mean") {
      throw new ClapError(`smoothing=${shown(smoothing)}: pass 'median' or 'mean'.`);
    }
    this.smoother = new Smoother(smooth, smoothing);
  }

  /** Those that have begun and not ended, in the order in which they began. */
  get open(): Event[] {
    const said = [...this.states.values()].filter((state) => state.said);
    return said.map((state) => state.event("began")).sort((a, b) => a.start - b.start);
  }

  /**
   * Events that began or ended, as far as the next segment shows; first those that ended.
   *
   * @throws ClapError it begins before the one before it.
   */
  push(segment: Segment): Event[] {
    const { newest } = this.smoother;
    const found: Event[] = [];
    if (newest && segment.start < newest.start) {
      throw new ClapError(
        `a segment at ${segment.start.toFixed(3)} s came behind one at ${newest.start.toFixed(3)} s: give them in order ` +
          "of time.",
      );
    }
    if (newest && segment.start > newest.end + ROUNDING) {
      found.push(...this.decided(this.smoother.rest()));
      this.break();
    }
    const wanted = segment.predictions.filter(({ label }) => this.only?.has(label) ?? true);
    const scores = new Map(wanted.map(({ label, score }) => [label, score]));
    return [...found, ...this.decided(this.smoother.push({ segment, scores }))];
  }

  /** The end of the stream: all that is open ends. */
  finish(): Event[] {
    const found = this.decided(this.smoother.rest());
    this.break();
    for (const state of this.states.values()) found.push(...state.close());
    this.states.clear();
    return found;
  }

  /** Nothing is next to the window before: its share ends where it ends. */
  private break(): void {
    if (this.before) for (const state of this.states.values()) state.pause(this.before.end);
    this.before = null;
  }

  private decided(windows: Scored[]): Event[] {
    return windows.flatMap((window) => this.decide(window));
  }

  /** What a window with smoothed scores begins and ends. */
  private decide({ segment, scores }: Scored): Event[] {
    const { before } = this;
    const centre = centreOf(segment);
    let { start } = segment;
    if (before) {
      const border = (centreOf(before) + centre) / 2;
      start = Math.max(start, border);
      for (const state of this.states.values()) state.settle(Math.min(before.end, border));
    }
    this.before = segment;
    const ended: Event[] = [];
    const began: Event[] = [];
    for (const label of new Set([...this.states.keys(), ...scores.keys()])) {
      const score = scores.get(label) ?? SILENCE;
      let state = this.states.get(label);
      if (state?.isOver(score, start, centre)) {
        ended.push(...state.close());
        this.states.delete(label);
        state = undefined;
      }
      if (state === undefined) {
        const rule = this.rules.get(label) ?? this.rule;
        if (score < rule.on) continue;
        state = new State(label, rule, start);
        this.states.set(label, state);
      }
      began.push(...state.hear(score, centre));
    }
    return [...ended, ...began];
  }
}

function centreOf(segment: Segment): number {
  return (segment.start + segment.end) / 2;
}
