/** From the embeddings of windows to that of a recording. */

import { AudioError, BackendError, BundleError } from "../errors.js";
import { general } from "../text/pythonic.js";
import type { Pooling } from "./policy.js";

const NORM_TOLERANCE = 1e-2; // the norm is taken in float32; an engine may round the result to half

/** Mean of unit vectors, at least one, scaled to unit norm again. */
export function meanEmbedding(rows: readonly Float32Array[]): Float32Array {
  const sum = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) for (let i = 0; i < sum.length; i += 1) sum[i] = (sum[i] as number) + (row[i] as number);
  return unit(sum, rows.length);
}

/** The embedding of a recording whose windows come bit by bit. */
export class Pool {
  private sum = new Float64Array();
  private weight = 0;

  /** @param pooling how windows count; not `max`. */
  constructor(private readonly pooling: Exclude<Pooling, "max"> = "mean") {}

  /**
   * Take one more window.
   *
   * @param embedding of unit norm; for `raw_mean` the vector as the encoder gives it.
   * @param window its samples.
   * @throws AudioError it is not finite, or should be of unit norm and is not.
   */
  add(embedding: Float32Array, window: Float32Array): void {
    checkHeard([embedding], this.pooling !== "raw_mean");
    // A little for each, so that silence has an embedding too.
    const weight = this.pooling === "energy" ? 1e-12 + meanSquare(window) : 1;
    if (this.sum.length === 0) this.sum = new Float64Array(embedding.length);
    for (let i = 0; i < this.sum.length; i += 1) {
      this.sum[i] = (this.sum[i] as number) + weight * (embedding[i] as number);
    }
    this.weight += weight;
  }

  /** Of unit norm. */
  embedding(): Float32Array {
    return unit(this.sum, this.weight);
  }
}

/** The highest cosines and scores of a recording's windows, label by label. */
export class Peaks {
  cosines = new Float32Array();
  scores = new Float64Array();

  constructor(
    private readonly cosinesOf: (embedding: Float32Array) => Float32Array,
    private readonly scoresOf: (cosines: Float32Array) => Float64Array,
  ) {}

  /** Take one more window; see {@link Pool.add}. */
  add(embedding: Float32Array): void {
    checkHeard([embedding]);
    const cosines = this.cosinesOf(meanEmbedding([embedding]));
    const scores = this.scoresOf(cosines);
    if (this.cosines.length === 0) {
      [this.cosines, this.scores] = [cosines.slice(), scores.slice()];
      return;
    }
    this.cosines = this.cosines.map((value, i) => Math.max(value, cosines[i] as number));
    this.scores = this.scores.map((value, i) => Math.max(value, scores[i] as number));
  }
}

/**
 * Embeddings of a recording's windows as they are.
 *
 * @throws AudioError they are not finite, or not of unit norm where that is asked for.
 */
export function checkHeard(rows: readonly Float32Array[], isUnit = true): readonly Float32Array[] {
  if (!allFinite(rows) || (isUnit && off(rows) > NORM_TOLERANCE)) {
    // An overflow behind the last division leaves zeros.
    throw new AudioError(
      "the model's embedding of this recording is not finite: its samples are beyond what the model can take, or the " +
        "encoder overflows in half precision (export it as fp32).",
    );
  }
  return rows;
}

/**
 * @throws BackendError one of them is not finite.
 * @throws BundleError one is not of unit norm, which the graph should have seen to.
 */
export function checkFinite(rows: readonly Float32Array[]): readonly Float32Array[] {
  if (!allFinite(rows)) {
    throw new BackendError(
      "the engine returned embeddings that are not finite. Export the bundle with another precision (fp32).",
    );
  }
  const worst = off(rows);
  if (worst > NORM_TOLERANCE) {
    throw new BundleError(
      `the graph returned embeddings that are not of unit norm (off by ${general(worst, 3)}). Export the bundle again.`,
    );
  }
  return rows;
}

/** The energy of a window, by sample. */
function meanSquare(row: Float32Array): number {
  return row.reduce((sum, value) => sum + value * value, 0) / row.length;
}

function allFinite(rows: readonly Float32Array[]): boolean {
  return rows.every((row) => row.every(Number.isFinite));
}

/** How far the norm of the worst row is from 1. */
function off(rows: readonly Float32Array[]): number {
  return Math.max(0, ...rows.map((row) => Math.abs(norm(row) - 1)));
}

export function norm(row: Float32Array | Float64Array): number {
  let sum = 0;
  for (const value of row) sum += value * value;
  return Math.sqrt(sum);
}

function unit(sum: Float64Array, weight: number): Float32Array {
  const mean = sum.map((value) => value / weight);
  // Opposite vectors may cancel out: no direction is left, and zero is similar to nothing.
  const length = Math.max(norm(mean), 1e-12);
  return Float32Array.from(mean, (value) => value / length);
}
