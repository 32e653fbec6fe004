/** The bundle: files that hold everything inference needs, described by a manifest. */

import { BundleError } from "../errors.js";
import type { BundleSource } from "../sources/source.js";
import { checkOnnx, type OnnxGraph } from "./onnx-file.js";
import { type Graph, MANIFEST, type Manifest, MOST_MANIFEST, parseManifest } from "./manifest.js";
import { sha256 } from "./sha256.js";

/** What an encoder needs of a bundle, or of a tagger, which has no tokenizer. */
export interface Model {
  readonly manifest: Manifest;
  /** A graph's file, and what it holds. */
  graph(graph: Graph): Promise<{ data: Uint8Array; found: OnnxGraph }>;
  /** A file that the manifest names, and what to call it. */
  read(file: string): Promise<{ data: Uint8Array; path: string }>;
}

export class Bundle implements Model {
  private constructor(
    private readonly source: BundleSource,
    readonly manifest: Manifest,
  ) {}

  /**
   * Read the manifest, and see that the files are there; each is compared with its hash when it is loaded.
   *
   * @param checkHashes compare all of them now.
   * @throws BundleError no bundle there, another version, or files missing or altered (all are listed).
   * @throws SchemaError the manifest has unknown, missing or ill-typed keys (all are listed).
   */
  static async open(source: BundleSource, { checkHashes = false } = {}): Promise<Bundle> {
    const path = `${source.name}/${MANIFEST}`;
    const data = await source.read(MANIFEST);
    if (data === null) {
      throw new BundleError(
        `no bundle at ${source.name}: ${MANIFEST} was not found there. Make one with: clap-export --ckpt CHECKPOINT ` +
          "--target onnx --out DIR",
      );
    }
    if (data.length > MOST_MANIFEST) {
      throw new BundleError(`'${path}' has ${data.length} bytes; at most ${MOST_MANIFEST} are read.`);
    }
    const bundle = new Bundle(source, parseManifest(path, data));
    await bundle.checkFiles(checkHashes);
    return bundle;
  }

  /** What it is called in sentences. */
  get name(): string {
    return this.source.name;
  }

  async read(file: string): Promise<{ data: Uint8Array; path: string }> {
    const path = `${this.source.name}/${file}`;
    const data = await this.source.read(file);
    if (data === null) throw new BundleError(`'${path}' does not exist.`);
    const problems = await this.problems(file, data);
    if (problems.length > 0) throw this.damaged(problems);
    return { data, path };
  }

  async graph(graph: Graph): Promise<{ data: Uint8Array; found: OnnxGraph }> {
    const { data } = await this.read(graph.file);
    return { data, found: checkOnnx(data, graph.file.split("/").at(-1) ?? "") };
  }

  private async checkFiles(checkHashes: boolean): Promise<void> {
    const { manifest } = this;
    const { audio_graph, text_graph, text, engines } = manifest;
    const parts = [audio_graph.file, text_graph?.file, text?.tokenizer, engines?.audio.file, engines?.text?.file];
    const used = parts.filter((name) => name !== undefined);
    const problems = used
      .filter((name) => !manifest.files.has(name))
      .map((name) => `'${name}' is used but not listed in 'files'`);
    for (const [name, { bytes }] of manifest.files) {
      if (name.startsWith("/") || name.split("/").includes("..")) {
        problems.push(`'${name}' points outside the bundle`);
        continue;
      }
      const size = await this.source.size(name);
      if (size === null) problems.push(`'${name}' is missing`);
      else if (size !== undefined && size !== bytes) problems.push(otherSize(name, size, bytes));
      else if (checkHashes) problems.push(...(await this.contentProblems(name)));
    }
    if (problems.length > 0) throw this.damaged(problems);
  }

  private async contentProblems(file: string): Promise<string[]> {
    const data = await this.source.read(file);
    return data === null ? [`'${file}' is missing`] : this.problems(file, data);
  }

  /** What is wrong with a file's bytes. */
  private async problems(file: string, data: Uint8Array): Promise<string[]> {
    const entry = this.manifest.files.get(file);
    if (data.length !== entry?.bytes) return [otherSize(file, data.length, entry?.bytes ?? 0)];
    return (await sha256(data)) === entry.sha256 ? [] : [`'${file}' does not have the recorded SHA-256`];
  }

  private damaged(problems: string[]): BundleError {
    return new BundleError(`bundle ${this.source.name} is damaged: ${problems.join("; ")}. Export it again.`);
  }
}

function otherSize(file: string, found: number, wanted: number): string {
  return `'${file}' has ${found} bytes, not ${wanted}`;
}
