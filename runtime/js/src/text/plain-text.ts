/** Text from files and users on its way to a terminal: it is shown, never obeyed. */

import { escaped } from "./pythonic.js";

// Control characters begin escape sequences; format characters reverse or hide what follows;
// halves of pairs are no characters. Two joiners are kept, which words and emoji are written with.
const CONTROL = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

export function hasControl(text: string): boolean {
  return CONTROL.test(text);
}

/** A text with what a terminal would act on replaced by an escape such as `\x1b`. */
export function printable(text: string): string {
  if (!hasControl(text)) return text;
  return Array.from(text, (c) => (CONTROL.test(c) ? escaped(c) : c)).join("");
}

const SHOWN = 20;

/** The first problems, and how many are left: `a; b and 3 more`. */
export function listed(problems: readonly string[], most = SHOWN, between = "; "): string {
  const rest = problems.length - most;
  return problems.slice(0, most).join(between) + (rest > 0 ? ` and ${rest} more` : "");
}
