/** When a label is an event. */

import { ClapError } from "../errors.js";
import { finite } from "../text/arguments.js";
import { shown } from "../text/pythonic.js";

export interface RuleOptions {
  /** Score from which a label is on; above 0, which is the score of silence, and at most 1. Default 0.5. */
  readonly on?: number;
  /** Score below which it is off again; default that of `on`. */
  readonly off?: number | null;
  /** Seconds; shorter events are dropped. */
  readonly minimum?: number;
  /** Seconds; events that are less than this apart are one. */
  readonly gap?: number;
}

export class Rule {
  readonly on: number;
  /** Score below which a label is off. */
  readonly until: number;
  readonly minimum: number;
  readonly gap: number;

  /** @throws ClapError a value out of range, or an `off` above `on`. */
  constructor({ on = 0.5, off = null, minimum = 0, gap = 0 }: RuleOptions = {}) {
    this.on = finite("on", on);
    this.until = off === null ? this.on : finite("off", off);
    if (!(this.until > 0 && this.until <= this.on && this.on <= 1)) {
      throw new ClapError(
        `on=${shown(on)}, off=${shown(off)}: pass scores above 0, which silence has, and up to 1, and an \`off\` that ` +
          "is not above `on`.",
      );
    }
    for (const [name, value] of Object.entries({ minimum, gap })) {
      if (finite(name, value, "a number of seconds") < 0) throw new ClapError(`${name}=${shown(value)}: pass at least 0 seconds.`);
    }
    this.minimum = minimum;
    this.gap = gap;
  }
}
