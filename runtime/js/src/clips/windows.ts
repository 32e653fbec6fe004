/** Clips that are shorter than a window. */

import type { Fill } from "../format/audio-spec.js";

/**
 * Extend a clip of 1 to `window` samples: `repeat` tiles it and cuts the last copy, `repeatpad` puts as many whole
 * copies as fit and then zeros, `pad` puts zeros.
 */
export function fill(samples: Float32Array, window: number, rule: Fill): Float32Array {
  const found = new Float32Array(window);
  const n = samples.length;
  const copies = rule === "repeat" ? Math.ceil(window / n) : rule === "repeatpad" ? Math.floor(window / n) : 1;
  for (let i = 0; i < copies; i += 1) found.set(samples.subarray(0, Math.min(n, window - i * n)), i * n);
  return found;
}
