/** Cosines to scores, and scores to ranked predictions. */

import { ClapError } from "./errors.js";
import type { Manifest } from "./format/manifest.js";
import { finite, maybeWhole } from "./text/arguments.js";
import { shown } from "./text/pythonic.js";

const MODES = ["softmax", "cosine", "multilabel"] as const;

/** `softmax` over the labels, the `cosine` as it is, or an independent probability for each label. */
export type Mode = (typeof MODES)[number];

/** One label for a clip; `similarity` is the cosine between their embeddings. */
export interface Prediction {
  readonly label: string;
  readonly score: number;
  readonly similarity: number;
}

export interface RankingOptions {
  readonly scores?: Mode;
  /** Predictions with a lower score are dropped. */
  readonly threshold?: number | null;
  /** Predictions with a lower cosine are dropped. */
  readonly minSimilarity?: number | null;
  /** Most predictions kept. */
  readonly topK?: number | null;
}

/** How cosines become predictions. */
export class Ranking {
  readonly mode: Mode;
  private readonly threshold: number;
  private readonly minSimilarity: number;
  private readonly topK: number | null;

  /**
   * @throws ClapError an unknown mode, `multilabel` without a calibration in the bundle, or a bound that is no number.
   */
  constructor(
    private readonly manifest: Manifest,
    options: RankingOptions = {},
  ) {
    this.mode = options.scores ?? "softmax";
    if (!MODES.includes(this.mode)) throw new ClapError(`scores=${shown(this.mode)}: choose from ${MODES.join(", ")}.`);
    if (this.mode === "multilabel" && manifest.calibration === null) {
      throw new ClapError(
        "scores='multilabel' was asked for, but this bundle has no calibration: use scores='cosine' with a threshold.",
      );
    }
    this.threshold = bound("threshold", options.threshold);
    this.minSimilarity = bound("min_similarity", options.minSimilarity);
    this.topK = maybeWhole("top_k", options.topK);
  }

  /** Scores of one clip's cosines, in the same order. */
  scores(cosines: Float32Array): Float64Array {
    const found = Float64Array.from(cosines);
    const { calibration, logit_scale: factor } = this.manifest;
    if (this.mode === "softmax") {
      const highest = found.reduce((most, value) => Math.max(most, value * factor), -Infinity);
      const powers = found.map((value) => Math.exp(value * factor - highest));
      const sum = powers.reduce((total, value) => total + value, 0);
      return powers.map((value) => value / sum);
    }
    if (this.mode === "multilabel" && calibration !== null) {
      // The sigmoid as a tanh, which does not overflow.
      return found.map((value) => 0.5 * (1 + Math.tanh(0.5 * (calibration.scale * value + calibration.bias))));
    }
    return found;
  }

  /**
   * Predictions of one clip, best first; equal ones in the order of the labels. An empty list means "none of these".
   */
  rank(cosines: Float32Array, names: readonly string[], topK?: number | null, given?: Float64Array): Prediction[] {
    const scores = given ?? this.scores(cosines);
    const most = maybeWhole("top_k", topK) ?? this.topK ?? names.length;
    const order = Array.from(names, (_, i) => i);
    // A saturated softmax has equal scores: then the cosine decides, then the label's place.
    order.sort((a, b) => at(scores, b) - at(scores, a) || at(cosines, b) - at(cosines, a) || a - b);
    return order
      .filter((i) => at(scores, i) >= this.threshold && at(cosines, i) >= this.minSimilarity)
      .slice(0, most)
      .map((i) => ({ label: names[i] as string, score: at(scores, i), similarity: at(cosines, i) }));
  }
}

function bound(name: string, value: number | null | undefined): number {
  return value === null || value === undefined ? -Infinity : finite(name, value, "a finite number, or None");
}

function at(values: Float32Array | Float64Array, i: number): number {
  return values[i] as number;
}
