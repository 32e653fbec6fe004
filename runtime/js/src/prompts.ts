/** From a label to the texts that stand for it. */

import { LabelError } from "./errors.js";
import { MOST_LETTERS } from "./format/manifest.js";
import { shown } from "./text/pythonic.js";
import { textProblem } from "./text/schema.js";

const SLOT = "{}";

/** The prompts of a label, in the order of the templates. A label or a template may hold other braces. */
export function fillAll(templates: readonly string[], label: string): string[] {
  return templates.map((template) => template.split(SLOT).join(label));
}

/**
 * One or more prompts, each with exactly one `{}` for the label.
 *
 * @throws LabelError none given, or an ill-formed one.
 */
export function checkTemplates(given: string | readonly string[]): readonly string[] {
  const templates: unknown = typeof given === "string" ? [given] : given;
  if (!Array.isArray(templates)) {
    throw new LabelError(`templates=${shown(given)}: pass a prompt such as 'a sound of {}', or several.`);
  }
  if (templates.length === 0) {
    throw new LabelError("no templates were given: pass at least one, such as 'a sound of {}'.");
  }
  for (const template of templates as unknown[]) {
    if (typeof template !== "string" || template.split(SLOT).length !== 2) {
      throw new LabelError(
        `template ${shown(template)} must hold exactly one {} for the label, as in 'this is a sound of {}'.`,
      );
    }
    const problem = textProblem(template, MOST_LETTERS);
    if (problem) throw new LabelError(`template ${shown(template)} ${problem}.`);
  }
  return templates as string[];
}
