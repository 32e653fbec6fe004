/** What callers pass: numbers of the right kind and size, or one sentence. */

import { ClapError } from "../errors.js";
import { shown } from "./pythonic.js";

/**
 * A whole number of at least `least`, and at most `most`.
 *
 * @throws ClapError it is another type, too small or too large.
 */
export function wholeNumber(name: string, value: unknown, least = 1, most = Infinity): number {
  if (!Number.isInteger(value)) throw new ClapError(`${name}=${shown(value)}: pass a whole number of at least ${least}.`);
  if ((value as number) < least) throw new ClapError(`${name}=${shown(value)}: pass at least ${least}.`);
  if ((value as number) > most) throw new ClapError(`${name}=${shown(value)}: pass at most ${most}.`);
  return value as number;
}

/** The same, or nothing. */
export function maybeWhole(name: string, value: unknown, least = 1): number | null {
  if (value === undefined || value === null) return null;
  try {
    return wholeNumber(name, value, least);
  } catch (problem) {
    throw new ClapError(`${(problem as Error).message.replace(/\.$/, "")}, or None.`);
  }
}

/**
 * A number that is neither NaN nor infinite.
 *
 * @throws ClapError it is another type, or not finite.
 */
export function finite(name: string, value: unknown, wanted = "a finite number"): number {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new ClapError(`${name}=${shown(value)}: pass ${wanted}.`);
  }
  return value;
}
