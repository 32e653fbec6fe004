/** Label banks: names to text embeddings, made once, and used without a text encoder; or to directions that were learned. */

import { meanEmbedding, norm } from "./clips/pooling.js";
import type { Encoder } from "./encoder.js";
import { BundleError, LabelError } from "./errors.js";
import { readBank } from "./format/bank-file.js";
import type { Floats } from "./format/npy.js";
import { NotAnArchive } from "./format/zip.js";
import { Head } from "./head.js";
import { checkTemplates, fillAll } from "./prompts.js";
import { type Bytes, view } from "./sources/memory.js";
import { hasControl, listed, printable } from "./text/plain-text.js";
import { characters, general, quoted, repr, shown, stripped, tuple } from "./text/pythonic.js";

const NORM_TOLERANCE = 1e-3; // float32 rounding is 1e-7; half precision of other writers 5e-4
const MOST_LETTERS = 1000; // of a name

/** Names; or names and the texts that stand for each, which are used as they are. */
export type Names = readonly string[] | Readonly<Record<string, string | readonly string[]>>;

export class LabelBank {
  private constructor(
    /** Of the labels, without duplicates. */
    readonly names: readonly string[],
    /** The prompts they were put through; empty when every label had its own texts. */
    readonly templates: readonly string[],
    /** `[names, dim]` of unit norm, row after row. */
    readonly embeddings: Float32Array,
    readonly dim: number,
    /** Of the bundle whose text encoder made them, or in whose space they were learned. */
    readonly spaceId: string,
    /** What makes their cosines scores, of labels that were learned from examples; else null. */
    readonly head: Head | null = null,
  ) {}

  /** @throws LabelError the parts do not fit together. */
  static of(
    names: readonly string[],
    templates: readonly string[],
    embeddings: Floats,
    spaceId: string,
    head: Head | null = null,
  ): LabelBank {
    const problems = [...nameProblems(names), ...embeddingProblems(names, embeddings)];
    if (problems.length > 0) throw new LabelError(`ill-formed label bank: ${problems.join("; ")}.`);
    return new LabelBank(names, templates, embeddings.data, embeddings.shape[1] ?? 0, spaceId, head);
  }

  /**
   * Embed labels: the mean over all prompts of a label, scaled to unit norm.
   *
   * @param templates one or more prompts with one `{}` each; default the manifest's.
   * @throws LabelError no labels, blank or duplicate names, or an ill-formed template.
   */
  static async build(encoder: Encoder, labels: Names, templates?: string | readonly string[]): Promise<LabelBank> {
    if (typeof labels !== "object" || labels === null) throw new LabelError(`labels is ${shown(labels)}: pass a list of names.`);
    const own = !Array.isArray(labels);
    const names: readonly string[] = own ? Object.keys(labels) : [...(labels as readonly string[])];
    const problems = nameProblems(names);
    if (problems.length > 0) throw new LabelError(`these labels cannot be used: ${problems.join("; ")}.`);
    if (own && templates !== undefined) {
      throw new LabelError("templates do not apply to labels that bring their own texts.");
    }
    const used = own ? [] : checkTemplates(templates ?? encoder.manifest.default_template);
    const prompts = own
      ? Object.values(labels as Record<string, string | readonly string[]>).map((texts) => [texts].flat())
      : names.map((name) => fillAll(used, name));
    const empty = prompts.findIndex((texts) => texts.length === 0);
    if (empty >= 0) throw new LabelError(`label ${quoted(names[empty] as string)} has no text: give it at least one.`);
    const rows = await encoder.embedText(prompts.flat());
    const dim = encoder.manifest.embedding_dim;
    const embeddings = new Float32Array(names.length * dim);
    let at = 0;
    prompts.forEach((texts, i) => {
      embeddings.set(meanEmbedding(rows.slice(at, at + texts.length)), i * dim);
      at += texts.length;
    });
    return new LabelBank(names, used, embeddings, dim, encoder.manifest.space_id);
  }

  /**
   * Read a saved bank.
   *
   * @param data null where there is no such file.
   * @param path of the file, for sentences.
   * @throws LabelError missing, truncated, not a label bank, or with unknown, missing or ill-typed parts (all are listed).
   */
  static async load(data: Bytes | null, path = "the label bank in memory"): Promise<LabelBank> {
    if (data === null) {
      throw new LabelError(`no label bank at '${path}'. Make one: clap-export labels BUNDLE FILE -o bank.npz`);
    }
    const { meta, embeddings, scales, biases, problems } = await readBank(view(data)).catch((error: unknown) => {
      if (!(error instanceof NotAnArchive)) throw error;
      throw new LabelError(`'${path}' is truncated or no label bank (${error.message}). Build it again.`);
    });
    if (embeddings) problems.push(...embeddingProblems(meta?.names ?? null, embeddings));
    if (meta) problems.push(...nameProblems(meta.names));
    let head: Head | string | null = null;
    if (meta?.head && embeddings && scales && biases && problems.length === 0) {
      head = await Head.of(scales, biases, meta.head, embeddings);
      if (typeof head === "string") problems.push(head);
    }
    if (problems.length > 0 || !meta || !embeddings || typeof head === "string") {
      throw new LabelError(`'${path}' is no usable label bank: ${problems.join("; ")}. Build it again.`);
    }
    const { names, templates, space_id } = meta;
    return new LabelBank(names, templates, embeddings.data, embeddings.shape[1] ?? 0, space_id, head);
  }

  get length(): number {
    return this.names.length;
  }

  /** A label's embedding. */
  row(index: number): Float32Array {
    return this.embeddings.subarray(index * this.dim, (index + 1) * this.dim);
  }

  /** Cosines to one embedding of unit norm. */
  cosines(embedding: Float32Array): Float32Array {
    return Float32Array.from(this.names, (_, label) => {
      let sum = 0;
      for (let i = 0, at = label * this.dim; i < this.dim; i += 1, at += 1) {
        sum += (this.embeddings[at] as number) * (embedding[i] as number);
      }
      return sum;
    });
  }

  /**
   * @throws BundleError the bank belongs to another embedding space.
   * @throws LabelError it has another number of dimensions.
   */
  checkFits(spaceId: string, dim: number): void {
    if (this.spaceId !== spaceId) {
      const again = this.head
        ? "It is a head: fit it again on a library of this bundle: clap-export head LIB LABELS -o head.npz"
        : "Build the bank again with this bundle: clap-export labels BUNDLE FILE -o bank.npz";
      throw new BundleError(
        `the label bank belongs to embedding space ${this.spaceId}, the bundle to ${spaceId}: their cosines would mean ` +
          `nothing. ${again}`,
      );
    }
    if (this.dim !== dim) throw new LabelError(`the label bank has ${this.dim} dimensions, the bundle ${dim}.`);
  }
}

/**
 * Names from a text: one a line; blank lines and lines with `#` are skipped.
 *
 * @throws LabelError without labels, or with duplicates.
 */
export function parseLabels(text: string, path = "the list of labels"): string[] {
  if (text.includes("\0")) throw new LabelError(`'${path}' is a binary file, not a list of labels.`);
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/);
  const names = lines.map((line) => stripped(line)).filter((line) => line && !line.startsWith("#"));
  const problems = nameProblems(names);
  if (problems.length > 0) throw new LabelError(`'${path}': ${problems.join("; ")}.`);
  return names;
}

function nameProblems(names: readonly unknown[]): string[] {
  if (names.length === 0) return ["no labels"];
  const problems = new Set<string>();
  const seen = new Set<string>();
  names.forEach((name, i) => {
    if (typeof name !== "string" || !stripped(name)) {
      problems.add(`label ${i} is ${printable(repr(name).slice(0, 80))}, not a name`);
    } else if (characters(name) > MOST_LETTERS) {
      problems.add(`label ${i} has ${characters(name)} characters, at most ${MOST_LETTERS} are`);
    } else if (hasControl(name)) {
      problems.add(`label ${i}, '${printable(name)}', holds control characters`);
    } else if (seen.has(name)) {
      problems.add(`${quoted(name)} is listed twice`);
    } else {
      seen.add(name);
    }
  });
  return problems.size > 0 ? [listed([...problems])] : [];
}

function embeddingProblems(names: readonly string[] | null, { shape, data }: Floats): string[] {
  // Of rows without a number a file of no length may have any number.
  if (shape.length !== 2 || !shape[1] || (names !== null && shape[0] !== names.length)) {
    return [`embeddings have shape ${tuple(shape)}, not (${names?.length ?? "n"}, dim)`];
  }
  const [rows = 0, dim = 0] = shape;
  let worst = 0;
  for (let row = 0; row < rows; row += 1) {
    const length = norm(data.subarray(row * dim, (row + 1) * dim));
    if (!Number.isFinite(length)) return ["embeddings hold NaN or infinite values"];
    worst = Math.max(worst, Math.abs(length - 1));
  }
  return worst > NORM_TOLERANCE ? [`embeddings are not of unit norm (off by ${general(worst, 2)})`] : [];
}
