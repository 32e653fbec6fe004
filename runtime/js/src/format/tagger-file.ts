/** The file of a tagger: a bundle's audio graph with labels inside, in one ONNX file. */

import { BundleError } from "../errors.js";
import { ABOUT, Head } from "../head.js";
import { LabelBank } from "../labels.js";
import { type Bytes, view } from "../sources/memory.js";
import { readJson } from "../text/json.js";
import { tuple } from "../text/pythonic.js";
import { choice, list, maybe, type Of, optional, read, record, text, whole, words } from "../text/schema.js";
import type { Model } from "./bundle.js";
import { type Graph, type Manifest, MOST_LETTERS, parseManifest } from "./manifest.js";
import { checkOnnx, type OnnxGraph } from "./onnx-file.js";
import type { Floats } from "./npy.js";
import { sha256 } from "./sha256.js";

const KEY = "clap-export-tagger";
const MANIFEST_KEY = "clap-export-manifest";
const LABELS = "label_embeddings"; // the constant, float32 [labels, dim] of unit norm
const [SCALES, BIASES] = ["label_scales", "label_biases"]; // of a head: float32 [labels] each
const HEAD_VERSION = 2;
const OUTPUTS = ["scores", "similarity", "embedding"];

const FROZEN = record(
  {
    format_version: choice(1, HEAD_VERSION),
    labels: list(words),
    templates: list(text(MOST_LETTERS)),
    scores: choice("softmax", "cosine", "multilabel"),
    top_k: maybe(whole(1, 2 ** 24)),
    labels_sha256: text(255),
    head: optional(maybe(ABOUT), () => null),
  },
  ({ format_version, head }) =>
    (head !== null) === (format_version === HEAD_VERSION)
      ? null
      : "a tagger of a head has the format_version 2, and 'head'",
);

/** What a tagger says of its labels. */
export type Frozen = Of<typeof FROZEN>;

export class TaggerFile implements Model {
  private constructor(
    private readonly path: string,
    private readonly data: Uint8Array,
    private readonly found: OnnxGraph,
    readonly manifest: Manifest,
    readonly frozen: Frozen,
    /** The labels and their embeddings. */
    readonly bank: LabelBank,
  ) {}

  /**
   * @param bytes null where there is no such file.
   * @param path of the file, for sentences.
   * @throws BundleError it is missing, or no tagger that can be used.
   * @throws SchemaError its metadata has unknown, missing or ill-typed keys (all are listed).
   * @throws LabelError its labels are unusable.
   */
  static async open(bytes: Bytes | null, path = "tagger.onnx"): Promise<TaggerFile> {
    if (bytes === null) throw new BundleError(`'${path}' does not exist.`);
    const data = view(bytes);
    if (/\.(xml|bin)$/.test(path)) {
      throw new BundleError(
        `'${path}' is in OpenVINO's own format, for programs that use OpenVINO alone: give the tagger's .onnx, which ` +
          "providers=('openvino',) run on OpenVINO just as well.",
      );
    }
    const graph = checkOnnx(data, path.split(/[\\/]/).at(-1) ?? path);
    const [said, manifestText] = [graph.metadata.get(KEY), graph.metadata.get(MANIFEST_KEY)];
    if (said === undefined || manifestText === undefined) {
      throw new BundleError(
        `'${path}' is an ONNX file, but no tagger: it says nothing of labels. Make one: clap-export freeze BUNDLE LABELS ` +
          "-o tagger.onnx",
      );
    }
    const utf8 = new TextEncoder();
    const manifest = parseManifest(path, utf8.encode(manifestText));
    const frozen = read(FROZEN, readJson(utf8.encode(said), path, BundleError), path);
    return new TaggerFile(path, data, graph, manifest, frozen, await bankOf(path, graph, manifest, frozen));
  }

  /** @throws BundleError always: there is no other file. */
  async read(): Promise<never> {
    throw new BundleError(
      `'${this.path}' is a tagger, with its labels inside and no text encoder: for other labels take the bundle, or ` +
        "clap-export freeze --relabel with a bank of them.",
    );
  }

  async graph(graph: Graph): Promise<{ data: Uint8Array; found: OnnxGraph }> {
    return graph === this.manifest.audio_graph ? { data: this.data, found: this.found } : this.read();
  }
}

async function bankOf(path: string, graph: OnnxGraph, manifest: Manifest, frozen: Frozen): Promise<LabelBank> {
  const damaged = (problem: string): BundleError =>
    new BundleError(`'${path}' is a damaged tagger: ${problem}. Freeze it again.`);
  const constant = (name: string, shape: readonly number[]): Floats & { raw: Uint8Array } => {
    const found = graph.tensors.get(name);
    if (!found?.raw || !found.isFloat || found.dims.join() !== shape.join()) {
      throw damaged(`its labels are no constant '${name}' of float32 ${tuple(shape)}`);
    }
    return { raw: found.raw, shape, data: new Float32Array(found.raw.slice().buffer) };
  };
  const count = frozen.labels.length;
  const embeddings = constant(LABELS, [count, manifest.embedding_dim]);
  if ((await sha256(embeddings.raw)) !== frozen.labels_sha256) throw damaged("its labels do not have the recorded SHA-256");
  const missing = OUTPUTS.find((name) => !graph.outputs.has(name));
  if (missing !== undefined) throw damaged(`it gives no '${missing}'`);
  const head =
    frozen.head && (await Head.of(constant(SCALES, [count]), constant(BIASES, [count]), frozen.head, embeddings));
  if (typeof head === "string") throw damaged(`of its head, ${head}`);
  return LabelBank.of(frozen.labels, frozen.templates, embeddings, manifest.space_id, head);
}
