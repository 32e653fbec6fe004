/** From embeddings to scores, as the runtime has them. */

/** @param {Float32Array} a @param {Float32Array} b both of unit norm */
export function cosine(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * The mean of rows, scaled to unit norm: a recording's embedding from its windows'.
 *
 * @param {Float32Array[]} rows
 */
export function mean(rows) {
  const sum = new Float64Array(rows[0].length);
  for (const row of rows) for (let i = 0; i < sum.length; i++) sum[i] += row[i];
  const norm = Math.hypot(...sum);
  return Float32Array.from(sum, (value) => value / norm);
}

/**
 * @param {Float32Array} row of a window or a recording
 * @param {Float32Array[]} labels
 * @param {"softmax" | "cosine"} mode
 * @param {number} scale the model's logit scale
 * @returns {number[]} one a label
 */
export function scores(row, labels, mode, scale) {
  const cosines = labels.map((label) => cosine(row, label));
  if (mode === "cosine") return cosines;
  const most = Math.max(...cosines);
  const powers = cosines.map((value) => Math.exp(scale * (value - most)));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

/** @param {number} value @param {"softmax" | "cosine"} mode */
export function written(value, mode) {
  return mode === "cosine" ? value.toFixed(3) : `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
}
