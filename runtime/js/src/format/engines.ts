/** What a bundle says of its TensorRT engines. They are not run here, but the manifest is read whole. */

import { choice, flag, list, maybe, record, table, text, whole } from "../text/schema.js";
import { tuple } from "../text/pythonic.js";

const NAME = text(255);
const AXIS = whole(1, 2 ** 24);

const RANGE = record({ min: list(AXIS), opt: list(AXIS), max: list(AXIS) }, ({ min, opt, max }) => {
  const shown = `${tuple(min)}, ${tuple(opt)}, ${tuple(max)}`;
  if (min.length === 0 || min.length !== opt.length || min.length !== max.length) {
    return `shapes of different ranks: ${shown}`;
  }
  const ordered = min.every((low, i) => low <= (opt[i] ?? 0) && (opt[i] ?? 0) <= (max[i] ?? 0));
  return ordered ? null : `min <= opt <= max does not hold: ${shown}`;
});

const ENGINE = record({
  file: NAME,
  library: choice("tensorrt", "tensorrt_rtx"),
  version: NAME,
  compute_capabilities: list(NAME),
  device: NAME,
  hardware: choice("none", "ampere_plus", "same_compute_capability"),
  version_compatible: flag,
  tf32: flag,
  precision: choice("fp32", "fp16"),
  layers: table(NAME, whole(0, 2 ** 24)),
  profiles: list(record({ inputs: table(NAME, RANGE) })),
});

/** Of a bundle without a text encoder there is one. */
export const ENGINES = record({ audio: ENGINE, text: maybe(ENGINE) });
