/** The audio graph: windows in batches to embeddings, on the engine that runs it. */

import type { Session, Tensors } from "./engines/engine.js";
import { BundleError, ClapError } from "./errors.js";
import type { Manifest } from "./format/manifest.js";
import { givesNorm } from "./format/manifest.js";
import { tuple } from "./text/pythonic.js";

const EMBEDDING = "embedding";
const NORM = "norm";

export class AudioGraph {
  /** @throws BundleError the graph has other inputs or outputs than the manifest promises. */
  constructor(
    private readonly session: Session,
    private readonly manifest: Manifest,
  ) {
    const { inputNames, outputNames } = session;
    if (inputNames.length !== 1 || inputNames[0] !== "waveform") {
      throw new BundleError(
        `'${manifest.audio_graph.file}' has inputs ${tuple(inputNames)}; this audio graph must have ('waveform',). ` +
          "Export the bundle again.",
      );
    }
    if (givesNorm(manifest) && !outputNames.includes(NORM)) {
      throw new BundleError(
        `the audio graph has outputs ${tuple(outputNames)}; of format_version ${manifest.format_version} it must have ` +
          `'${NORM}' among them. Export the bundle again, and build its engines anew if it has any.`,
      );
    }
  }

  /**
   * Embed windows that are at the model's rate and length, one batch.
   *
   * @param raw give the encoder's vectors before they are scaled to unit norm.
   * @throws ClapError another shape.
   */
  async embed(rows: readonly Float32Array[], raw = false): Promise<Float32Array[]> {
    const length = this.manifest.audio.window_samples;
    if (rows.length === 0) throw new ClapError("no windows were given: pass at least one.");
    const other = rows.find((row) => row.length !== length);
    if (other) {
      throw new ClapError(
        `windows of shape ${tuple([rows.length, other.length])} and type float32 were given: this model takes float32 ` +
          `[n, ${length}].`,
      );
    }
    const data = new Float32Array(rows.length * length);
    rows.forEach((row, i) => data.set(row, i * length));
    const found = await this.session.run({ waveform: { type: "float32", data, dims: [rows.length, length] } });
    const unit = checkedRows(found, rows.length, this.manifest.embedding_dim);
    if (!raw) return unit;
    const norms = found[NORM];
    if (norms?.type !== "float32" || norms.data.length !== rows.length) {
      throw new BundleError(
        `the audio graph gives no '${NORM}' of float32 [${rows.length}], which the manifest promises. Export the bundle ` +
          "again.",
      );
    }
    return unit.map((row, i) => row.map((value) => value * (norms.data[i] as number)));
  }
}

/**
 * The embeddings of a graph's outputs, if they are what the manifest promises.
 *
 * @param name of the output; default the audio graph's.
 */
export function checkedRows(outputs: Tensors, rows: number, dim: number, name = EMBEDDING): Float32Array[] {
  const found = outputs[name];
  if (found?.type !== "float32" || found.dims.length !== 2 || found.dims[0] !== rows || found.dims[1] !== dim) {
    throw new BundleError(
      `the graph returned ${found?.type ?? "no"} ${tuple(found?.dims ?? [])}, the manifest promises float32 ` +
        `${tuple([rows, dim])}. Export the bundle again.`,
    );
  }
  // A copy: engines may give their memory out again.
  return Array.from({ length: rows }, (_, i) => found.data.slice(i * dim, (i + 1) * dim));
}
