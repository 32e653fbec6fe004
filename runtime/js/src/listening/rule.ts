/** When a label is an event. */

import { ClapError } from "../errors.js";
import { finite } from "../text/arguments.js";
import { Float, float, repr, shown } from "../text/pythonic.js";

export interface RuleOptions {
  /** Score from which a label is on; above 0, which is the score of silence. Default 0.5. */
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
    if (!(this.until > 0 && this.until <= this.on)) {
      throw new ClapError(
        `on=${given(on)}, off=${given(off)}: pass scores above 0, which silence has, and an \`off\` that is not above ` +
          "`on`.",
      );
    }
    for (const [name, value] of Object.entries({ minimum, gap })) {
      if (finite(name, value, "a number of seconds") < 0) throw new ClapError(`${name}=${given(value)}: pass at least 0 seconds.`);
    }
    this.minimum = minimum;
    this.gap = gap;
  }
}

function given(value: unknown): string {
  return typeof value === "number" ? (Number.isInteger(value) ? repr(value) : float(value)) : shown(value instanceof Float ? value.value : value);
}
