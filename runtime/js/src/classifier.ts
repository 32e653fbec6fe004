/** Zero-shot classification: recordings against a bank of labels. */

import type { Recording, Source } from "./audio/recording.js";
import type { Cut } from "./clips/cutter.js";
import { timelinePolicy } from "./clips/policy.js";
import { checkHeard, meanEmbedding, Peaks, type Pool } from "./clips/pooling.js";
import type { Encoder } from "./encoder.js";
import { LabelError } from "./errors.js";
import type { Manifest } from "./format/manifest.js";
import { LabelBank, type Names } from "./labels.js";
import { type Mode, type Prediction, Ranking, type RankingOptions } from "./scores.js";
import { maybeWhole } from "./text/arguments.js";

/** A stretch of a recording; times in seconds from its start. */
export interface Segment {
  readonly start: number;
  /** Of the window, or of the recording where that is earlier. */
  readonly end: number;
  /** Best first; empty means "none of these". */
  readonly predictions: readonly Prediction[];
}

export interface ClassifierOptions extends RankingOptions {
  /** Prompts with one `{}`, averaged; default the manifest's. */
  readonly templates?: string | readonly string[];
}

export class Classifier {
  protected constructor(
    readonly encoder: Encoder,
    /** The labels and their embeddings. */
    readonly bank: LabelBank,
    private readonly ranking: Ranking,
  ) {}

  /**
   * @param labels names; an object of names to texts that are used as they are; or a bank or head, with which the text
   * encoder is never loaded.
   * @throws LabelError the labels or templates are unusable.
   * @throws BundleError the bundle is unusable, or the bank is of another space.
   * @throws BackendError the engine is not available.
   * @throws ClapError another argument is out of range.
   */
  static async of(encoder: Encoder, labels: Names | LabelBank, options: ClassifierOptions = {}): Promise<Classifier> {
    const { manifest } = encoder;
    const ranking = new Ranking(manifest, options);
    let bank: LabelBank;
    if (labels instanceof LabelBank) {
      if (options.templates !== undefined) {
        throw new LabelError("templates do not apply to a saved label bank: build it with them.");
      }
      labels.checkFits(manifest.space_id, manifest.embedding_dim);
      bank = labels;
    } else {
      bank = await LabelBank.build(encoder, labels, options.templates);
    }
    const own = ranking.ofLabels(bank.head);
    await encoder.openAudio(); // what is missing shows now, not at the first recording
    return new Classifier(encoder, bank, own);
  }

  get manifest(): Manifest {
    return this.encoder.manifest;
  }

  get labels(): readonly string[] {
    return this.bank.names;
  }

  /** What the scores are. */
  get scores(): Mode {
    return this.ranking.mode;
  }

  /**
   * Classify one recording of any length.
   *
   * @returns predictions, best first; empty for "none of these".
   * @throws AudioError the recording cannot be used.
   * @throws BackendError the engine failed.
   */
  async predict(source: Source, topK?: number): Promise<Prediction[]> {
    maybeWhole("top_k", topK);
    return this.predictRecording(this.encoder.read(source), topK);
  }

  /** The same of a recording that was read, which says what was wrong with its file. */
  async predictRecording(recording: Recording, topK?: number): Promise<Prediction[]> {
    const { encoder } = this;
    const { pooling } = encoder.policy;
    const pool: Pool | Peaks =
      pooling === "max" ? new Peaks((e) => this.bank.cosines(e), (c) => this.ranking.scores(c)) : encoder.newPool();
    await encoder.hear(recording, (cut, row) => pool.add(row, cut.row), { raw: pooling === "raw_mean" });
    if (pool instanceof Peaks) return this.ranking.rank(pool.cosines, this.labels, topK, pool.scores);
    return this.ranking.rank(this.bank.cosines(pool.embedding()), this.labels, topK);
  }

  /**
   * Classify each window of a recording.
   *
   * @param hop seconds between the starts of windows; default the manifest's. The last window is aligned to the
   * recording's end.
   */
  async timeline(source: Source, hop?: number, topK?: number): Promise<Segment[]> {
    maybeWhole("top_k", topK);
    const policy = timelinePolicy(this.encoder.policy, this.manifest.audio, hop ?? null);
    const recording = this.encoder.read(source);
    const rate = recording.rate;
    const found: Segment[] = [];
    const take = ({ start, end }: Cut, row: Float32Array): void => {
      found.push({ start: start / rate, end: end / rate, predictions: this.rank([row], topK) });
    };
    await this.encoder.hear(recording, take, { policy });
    return found;
  }

  /**
   * Predictions for a recording, from the embeddings of its windows.
   *
   * @throws AudioError the embeddings are not finite.
   */
  rank(rows: readonly Float32Array[], topK?: number): Prediction[] {
    return this.ranking.rank(this.bank.cosines(meanEmbedding(checkHeard(rows))), this.labels, topK);
  }

  /** Release the engines; they are loaded again when needed. */
  close(): Promise<void> {
    return this.encoder.close();
  }
}
