/** Recordings and texts to embeddings of one space. */

import { AudioGraph, checkedRows } from "./audio-graph.js";
import { readRecording, type Recording, type Source } from "./audio/recording.js";
import { batched, windowsOf } from "./clips/clip.js";
import type { Cut } from "./clips/cutter.js";
import { chosenPolicy, clipSpaceId, type Policy } from "./clips/policy.js";
import { checkFinite, Pool } from "./clips/pooling.js";
import type { Engine, Session } from "./engines/engine.js";
import { BundleError, ClapError, LabelError } from "./errors.js";
import type { Model } from "./format/bundle.js";
import { family, type Graph, givesNorm, type Manifest, textEncoder } from "./format/manifest.js";
import { wholeNumber } from "./text/arguments.js";
import { shown, tuple } from "./text/pythonic.js";
import { TextTokenizer } from "./tokenizer.js";

const ENOUGH = 4; // windows at once: more cost a CPU memory, and no window gets quicker
const MANY_TEXTS = 16;

export interface EncoderOptions {
  /** What runs the graphs. */
  readonly engine: Engine;
  /** Which windows of a recording are heard: a policy, a preset's name, or nothing for the bundle's own. */
  readonly windows?: Partial<Policy> | string | null;
  /** Windows given to the engine at once; default 4. */
  readonly batchSize?: number;
  /** Longer recordings are refused; default any length is taken. */
  readonly maxSeconds?: number;
}

interface TextEncoder {
  readonly tokenizer: TextTokenizer;
  readonly session: Session;
}

/** The two encoders of a bundle; each is loaded when it is first used. */
export class Encoder {
  readonly policy: Policy;
  readonly batchSize: number;
  private readonly maxSeconds: number;
  private audio: Promise<{ graph: AudioGraph; session: Session }> | null = null;
  private text: Promise<TextEncoder> | null = null;

  /**
   * @throws BundleError the bundle cannot follow the policy.
   * @throws ClapError an argument is out of range.
   */
  constructor(
    private readonly model: Model,
    private readonly options: EncoderOptions,
  ) {
    const { manifest } = model;
    this.batchSize = options.batchSize === undefined ? ENOUGH : wholeNumber("batch_size", options.batchSize);
    this.maxSeconds = options.maxSeconds ?? Infinity;
    this.policy = chosenPolicy(options.windows, {
      bundled: manifest.policy,
      spec: manifest.audio,
      givesNorm: givesNorm(manifest),
      family: family(manifest),
    });
  }

  get manifest(): Manifest {
    return this.model.manifest;
  }

  /** Hash of the embedding space and the policy: recordings' embeddings of another do not match these. */
  clipSpaceId(): Promise<string> {
    return clipSpaceId(this.policy, this.manifest.space_id, this.manifest.audio);
  }

  /**
   * Embed a recording of any length.
   *
   * @returns float32 `[dim]` of unit norm.
   * @throws AudioError it cannot be used.
   * @throws BackendError the engine is not available or failed.
   * @throws ClapError a policy that leaves no embedding.
   */
  async embedAudio(source: Source): Promise<Float32Array> {
    const pool = this.newPool();
    await this.hear(this.read(source), (cut, row) => pool.add(row, cut.row), { raw: this.policy.pooling === "raw_mean" });
    return pool.embedding();
  }

  /**
   * What pools the windows of one recording.
   *
   * @throws ClapError the policy leaves no embedding.
   */
  newPool(): Pool {
    const { pooling, name } = this.policy;
    if (pooling !== "max") return new Pool(pooling);
    throw new ClapError(
      `the policy '${name}' takes the highest scores over windows, which leaves no embedding: use it with a Classifier, ` +
        "or choose another policy.",
    );
  }

  /** A recording at the model's rate. */
  read(source: Source): Recording {
    const { audio } = this.manifest;
    const { resampler, channels } = this.policy.quirks;
    return readRecording(source, {
      rate: audio.sample_rate,
      maxSeconds: this.maxSeconds,
      keepFrom: audio.window_samples / audio.sample_rate,
      resampler,
      channels,
      int16RoundTrip: audio.int16_round_trip,
    });
  }

  /** The windows of a recording at the model's rate. */
  cuts(samples: Float32Array, policy: Policy = this.policy): Generator<Cut> {
    const { audio } = this.manifest;
    if (audio.long_clips === "fusion") {
      throw new ClapError("models with feature fusion are not run here: export the bundle without it.");
    }
    return windowsOf(samples, audio, policy);
  }

  /** Embed the windows of a recording, and hand each on with its embedding, in order. */
  async hear(
    recording: Recording,
    take: (cut: Cut, embedding: Float32Array) => void,
    { policy, raw }: { policy?: Policy; raw?: boolean } = {},
  ): Promise<void> {
    for (const cuts of batched(this.cuts(recording.samples, policy), this.batchSize)) {
      const rows = await (await this.openAudio()).embed(cuts.map((cut) => cut.row), raw);
      cuts.forEach((cut, i) => take(cut, rows[i] as Float32Array));
    }
  }

  /**
   * Embed windows that are already at the model's rate and length.
   *
   * @returns float32 `[dim]` of unit norm each; it is for the caller to see whether they are finite.
   */
  async embedWindows(rows: readonly Float32Array[]): Promise<Float32Array[]> {
    return (await this.openAudio()).embed(rows);
  }

  /**
   * Embed texts as they are, without a prompt template.
   *
   * @returns float32 `[dim]` of unit norm each.
   * @throws LabelError a blank text.
   * @throws ClapError no texts.
   */
  async embedText(texts: string | readonly string[]): Promise<Float32Array[]> {
    const all: unknown = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(all)) throw new LabelError(`texts=${shown(texts)}: pass one text or several.`);
    if (all.length === 0) throw new ClapError("no texts were given: pass at least one.");
    const { tokenizer, session } = await this.openText();
    const name = session.outputNames[0] as string;
    const found: Float32Array[] = [];
    for (const batch of batched(all as string[], MANY_TEXTS)) {
      const outputs = await session.run(tokenizer.tokens(batch));
      found.push(...checkedRows(outputs, batch.length, this.manifest.embedding_dim, name));
    }
    checkFinite(found);
    return found;
  }

  /** Load the audio encoder, or return it when it is loaded. */
  async openAudio(): Promise<AudioGraph> {
    this.audio ??= this.loadAudio();
    return (await this.audio.catch((error: unknown) => {
      this.audio = null;
      throw error;
    })).graph;
  }

  /** Release the text encoder; it is loaded again when needed. */
  async closeText(): Promise<void> {
    const text = this.text;
    this.text = null;
    await (await text?.catch(() => null))?.session.close();
  }

  /** Release the encoders; they are loaded again when needed. */
  async close(): Promise<void> {
    const audio = this.audio;
    this.audio = null;
    await this.closeText();
    await (await audio?.catch(() => null))?.session.close();
  }

  private async openText(): Promise<TextEncoder> {
    this.text ??= this.loadText();
    return this.text.catch((error: unknown) => {
      this.text = null;
      throw error;
    });
  }

  private async loadAudio(): Promise<{ graph: AudioGraph; session: Session }> {
    const session = await this.load(this.manifest.audio_graph);
    return { session, graph: new AudioGraph(session, this.manifest) };
  }

  private async loadText(): Promise<TextEncoder> {
    const { spec, graph } = textEncoder(this.manifest);
    const { data, path } = await this.model.read(spec.tokenizer);
    const tokenizer = await TextTokenizer.open(data, path, spec, this.policy.quirks.whole_texts);
    const session = await this.load(graph, tokenizer.largestId);
    if (session.inputNames.toSorted().join() !== spec.inputs.toSorted().join()) {
      throw new BundleError(
        `'${graph.file}' has inputs ${tuple(session.inputNames)}, the manifest says ${tuple(spec.inputs)}. Export the ` +
          "bundle again.",
      );
    }
    return { tokenizer, session };
  }

  /** Refuse a graph that does not take what the manifest promises, or give it to the engine. */
  private async load(graph: Graph, largestId = 0): Promise<Session> {
    const { data, found } = await this.model.graph(graph);
    const wanted = this.manifest.audio.window_samples;
    const samples = found.inputs.get("waveform")?.slice(1);
    if (graph === this.manifest.audio_graph && (samples?.length !== 1 || ![null, wanted].includes(samples[0] ?? null))) {
      throw new BundleError(
        `'${graph.file}' takes windows of ${samples?.[0] ?? 0} samples, the manifest says ${wanted}. Export the bundle ` +
          "again.",
      );
    }
    const rows = found.rows("input_ids");
    if (rows !== null && largestId >= rows) {
      throw new BundleError(
        `the tokenizer gives ids up to ${largestId}, '${graph.file}' embeds ${rows} tokens: they are of different models. ` +
          "Export the bundle again.",
      );
    }
    return this.options.engine.open(data, graph.file);
  }
}
