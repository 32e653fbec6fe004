/** A head: labels learned from examples. A scale and a bias for each of them make its cosines scores. */

import type { Floats } from "./format/npy.js";
import { sha256 } from "./format/sha256.js";
import { tuple } from "./text/pythonic.js";
import { choice, list, maybe, number, type Of, record, table, text, whole } from "./text/schema.js";

const NAME = text(255);
const COUNT = whole(0, 2 ** 53);
const SHARE = number(0, 1);
const POSITIVE = number(0, 1e30);

/** What a head gave to recordings that it was not fitted on, each in its turn. */
const FIGURES = record({
  folds: whole(2, 1000),
  grouped_by: NAME,
  accuracy: SHARE,
  average_precision: SHARE,
  of_labels: list(SHARE),
  log_loss: POSITIVE,
  uncalibrated_log_loss: POSITIVE,
  calibration_error: SHARE,
});

export const ABOUT = record({
  scores: choice("softmax", "multilabel"),
  clip_space_id: NAME,
  recordings: COUNT,
  of_labels: list(COUNT),
  penalty: POSITIVE,
  calibration: choice("temperature", "platt", "none"),
  figures: maybe(FIGURES),
  tools: table(NAME, NAME),
  sha256: text(64),
});

/** What a head says of itself; `scores` are the kind that it gives. */
export type About = Of<typeof ABOUT>;

export class Head {
  private constructor(
    /** One for each label. */
    readonly scales: Float32Array,
    readonly biases: Float32Array,
    readonly about: About,
  ) {}

  /**
   * @param embeddings of the labels, `[labels, dim]`.
   * @returns the head, or a clause for what does not fit together.
   */
  static async of(scales: Floats, biases: Floats, about: About, embeddings: Floats): Promise<Head | string> {
    const [labels = 0] = embeddings.shape;
    for (const [name, { shape, data }] of Object.entries({ scales, biases })) {
      if (shape.length !== 1 || shape[0] !== labels) {
        return `${name} are float32 ${tuple(shape)}, not one float32 for each label`;
      }
      if (!data.every(Number.isFinite)) return `${name} hold NaN or infinite values`;
    }
    if (scales.data.some((scale) => scale < 0)) return "scales are below 0";
    const counts = about.of_labels.length;
    if (counts !== labels || (about.figures?.of_labels.length ?? counts) !== counts) {
      return "what is said of the labels is not of as many as there are";
    }
    if ((await digest(embeddings.data, scales.data, biases.data)) !== about.sha256) {
      return "embeddings, scales and biases do not have the recorded SHA-256";
    }
    return new Head(scales.data, biases.data, about);
  }

  /** What becomes scores, of one clip's cosines. */
  logits(cosines: Float32Array): Float64Array {
    return Float64Array.from(cosines, (cosine, i) => (this.scales[i] as number) * cosine + (this.biases[i] as number));
  }
}

/** SHA-256 of the numbers of a head, in hex. */
async function digest(...arrays: readonly Float32Array[]): Promise<string> {
  return sha256(new Uint8Array(await new Blob(arrays as Float32Array<ArrayBuffer>[]).arrayBuffer()));
}
