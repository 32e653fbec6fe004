/** Cosines to scores, and scores to ranked predictions. */

import { ClapError } from "./errors.js";
import type { Head } from "./head.js";
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
  /** Default `softmax`, and of a head its own. */
  readonly scores?: Mode | null;
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
   * @param head of labels that were learned from examples; its scales and biases are then used.
   * @throws ClapError an unknown mode, or a bound that is no number.
   */
  constructor(
    private readonly manifest: Manifest,
    private readonly options: RankingOptions = {},
    private readonly head: Head | null = null,
  ) {
    const mode = options.scores ?? "softmax";
    if (!MODES.includes(mode)) throw new ClapError(`scores=${shown(mode)}: choose from ${MODES.join(", ")}.`);
    this.mode = head?.about.scores ?? mode;
    this.threshold = bound("threshold", options.threshold);
    this.minSimilarity = bound("min_similarity", options.minSimilarity);
    this.topK = maybeWhole("top_k", options.topK);
  }

  /**
   * The same for the labels that are looked up.
   *
   * @throws ClapError the head gives other scores than were asked for; or without one, `multilabel` was asked for and
   * the bundle has no calibration.
   */
  ofLabels(head: Head | null): Ranking {
    const { scores } = this.options;
    if (head === null) {
      if (this.mode === "multilabel" && this.manifest.calibration === null) {
        throw new ClapError(
          "scores='multilabel' was asked for, but this bundle has no calibration: use scores='cosine' with a threshold.",
        );
      }
      return this;
    }
    const own = head.about.scores;
    if ((scores ?? own) !== own) {
      throw new ClapError(
        `scores='${scores}' was asked for, but the labels are a head, whose scores are '${own}': leave the choice to it.`,
      );
    }
    return new Ranking(this.manifest, this.options, head);
  }

  /** Scores of one clip's cosines, in the same order. */
  scores(cosines: Float32Array): Float64Array {
    if (this.mode === "cosine") return Float64Array.from(cosines);
    const logits = this.logits(cosines);
    // The sigmoid as a tanh, which does not overflow.
    if (this.mode === "multilabel") return logits.map((value) => 0.5 * (1 + Math.tanh(0.5 * value)));
    const highest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
    const powers = logits.map((value) => Math.exp(value - highest));
    const sum = powers.reduce((total, value) => total + value, 0);
    return powers.map((value) => value / sum);
  }

  /**
   * Predictions of one clip, best first; equal ones in the order of the labels. An empty list means "none of these".
   */
  rank(cosines: Float32Array, names: readonly string[], topK?: number | null, given?: Float64Array): Prediction[] {
    const scores = given ?? this.scores(cosines);
    const most = maybeWhole("top_k", topK) ?? this.topK ?? names.length;
    const order = Array.from(names, (_, i) => i);
    // A saturated softmax has equal scores: then what is closer decides, then the label's place.
    const close = this.head?.logits(cosines) ?? cosines;
    order.sort((a, b) => at(scores, b) - at(scores, a) || at(close, b) - at(close, a) || a - b);
    return order
      .filter((i) => at(scores, i) >= this.threshold && at(cosines, i) >= this.minSimilarity)
      .slice(0, most)
      .map((i) => ({ label: names[i] as string, score: at(scores, i), similarity: at(cosines, i) }));
  }

  private logits(cosines: Float32Array): Float64Array {
    if (this.head !== null) return this.head.logits(cosines);
    const { calibration, logit_scale } = this.manifest;
    const { scale, bias } = this.mode === "multilabel" && calibration ? calibration : { scale: logit_scale, bias: 0 };
    return Float64Array.from(cosines, (cosine) => scale * cosine + bias);
  }
}

function bound(name: string, value: number | null | undefined): number {
  return value === null || value === undefined ? -Infinity : finite(name, value, "a finite number, or None");
}

function at(values: Float32Array | Float64Array, i: number): number {
  return values[i] as number;
}
