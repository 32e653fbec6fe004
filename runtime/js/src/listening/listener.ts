/** A stream heard as it comes: chunks of any size to the segments of the whole recording. */

import { checkRate, Levels, type PcmArray, roundTripInt16, scaled, typeOf } from "../audio/levels.js";
import { arraysOf } from "../audio/recording.js";
import { Resampler } from "../audio/resampler.js";
import type { Classifier, Segment } from "../classifier.js";
import { batched } from "../clips/clip.js";
import { type Cut, Cutter } from "../clips/cutter.js";
import { hopSamples, type Policy, starts, timelinePolicy } from "../clips/policy.js";
import { AudioError, ClapError } from "../errors.js";
import type { AudioSpec } from "../format/audio-spec.js";
import { finite, maybeWhole } from "../text/arguments.js";
import { repr, tuple } from "../text/pythonic.js";
import { loudness } from "./loudness.js";

const JITTER = 0.1; // seconds by which a chunk's timestamp may differ from the clock

/** What a listener has heard so far. */
export interface Counts {
  /** Of samples that were fed. */
  readonly seconds: number;
  /** Given to the encoder. */
  readonly windows: number;
  /** That the loudness gate kept from it. */
  readonly silent: number;
  /** Seconds of short gaps, which were filled with silence. */
  readonly bridged: number;
  /** Seconds of longer gaps. */
  readonly missing: number;
}

export interface ListenerOptions {
  /** Seconds between the starts of windows; default 0.5. */
  readonly hop?: number;
  /** dBFS. A window in which no stretch of a hop's length is louder is not given to the encoder. */
  readonly gate?: number | null;
  /** Most predictions of a segment; default the classifier's. */
  readonly topK?: number;
}

/** Samples of one channel, or of each. */
export type Chunk = PcmArray | readonly PcmArray[];

/**
 * Classifies a stream window by window, while it comes.
 *
 * However the samples are divided into chunks, the segments are those of `Classifier.timeline` with the same hop; the
 * last one comes with `flush`. Memory does not grow. Calls wait for each other, in their order. A chunk that cannot be
 * used is refused with one sentence and changes nothing.
 */
export class Listener {
  private readonly rate: number;
  private readonly spec: AudioSpec;
  private readonly policy: Policy;
  private readonly hopSamples: number;
  private readonly gate: number | null;
  private readonly topK: number | undefined;
  private form: string | null = null; // channels and type of the first chunk
  private samples = 0; // fed so far, bridged ones too
  private start = 0; // of the clock: the first chunk's timestamp
  private windows = 0;
  private silent = 0;
  private bridged = 0;
  private missing = 0;
  private owed = 0; // seconds of gaps, less than a sample, that are not bridged yet
  private found: Segment[] = [];
  private turn: Promise<unknown> = Promise.resolve();
  private base = 0;
  private begun = false;
  private resampler!: Resampler;
  private cutter!: Cutter;

  /**
   * @param sampleRate of the chunks, in Hz.
   * @throws AudioError the sample rate is none.
   * @throws ClapError another argument is out of range.
   */
  constructor(
    private heardBy: Classifier,
    sampleRate: number,
    { hop = 0.5, gate = null, topK }: ListenerOptions = {},
  ) {
    this.rate = checkRate(sampleRate, "the stream");
    this.spec = heardBy.manifest.audio;
    this.policy = timelinePolicy(heardBy.encoder.policy, this.spec, hop);
    this.hopSamples = hopSamples(this.policy, this.spec);
    this.gate = gate === null ? null : finite("gate", gate, "a number of dBFS, or None");
    this.topK = maybeWhole("top_k", topK) ?? undefined;
    this.begin();
  }

  /** The clock: when the next chunk's first sample is, in seconds. Counted in samples, it does not drift. */
  get seconds(): number {
    return this.start + this.samples / this.rate + this.missing + this.owed;
  }

  get counts(): Counts {
    const { windows, silent, bridged, missing } = this;
    return { seconds: this.samples / this.rate - bridged, windows, silent, bridged, missing };
  }

  /** Whose labels are looked for now. */
  get classifier(): Classifier {
    return this.heardBy;
  }

  /**
   * Look for other labels from the next window on. `Classifier.of(listener.classifier.encoder, labels)` shares the
   * engines.
   *
   * @throws ClapError it is a classifier of another model.
   */
  exchange(classifier: Classifier): void {
    const { manifest, encoder } = classifier;
    const same =
      manifest.space_id === this.heardBy.manifest.space_id &&
      JSON.stringify(manifest.audio) === JSON.stringify(this.spec) &&
      JSON.stringify(encoder.policy.quirks) === JSON.stringify(this.policy.quirks);
    if (!same) {
      throw new ClapError(
        `the new classifier is one of '${manifest.name}', and the stream is heard with ` +
          `'${this.heardBy.manifest.name}': make it of the same bundle and policy, or a new Listener.`,
      );
    }
    this.heardBy = classifier;
  }

  /**
   * Hear the next samples.
   *
   * @param chunk of any length and the same type and channels as the first.
   * @param at when its first sample is, in seconds on a clock of the caller's. The first chunk's sets the listener's
   * clock; later ones that are more than 0.1 s behind it mean a gap.
   * @returns segments that became complete, in order of time.
   * @throws AudioError the chunk cannot be used.
   * @throws BackendError the engine failed.
   */
  feed(chunk: Chunk, at?: number): Promise<Segment[]> {
    return this.inTurn(async () => {
      const samples = this.checked(chunk);
      if (at !== undefined) await this.meet(finite("at", at, "a time in seconds"));
      if (samples.length > 0) {
        this.samples += samples.length;
        await this.hear(samples);
      }
    });
  }

  /**
   * Tell that a stretch of the stream is missing; the clock goes on over it. One shorter than a hop is filled with
   * silence. At a longer one the recording ends, as with `flush`, and another begins behind it.
   *
   * @throws ClapError not a number of seconds, or a negative one.
   */
  gap(seconds: number): Promise<Segment[]> {
    return this.inTurn(async () => {
      if (finite("seconds", seconds, "a number of seconds") < 0) {
        throw new ClapError(`seconds=${repr(seconds)}: a gap has a positive length.`);
      }
      await this.skip(seconds);
    });
  }

  /** End the recording: the window that is aligned to its end is heard too. The clock stays. */
  flush(): Promise<Segment[]> {
    return this.inTurn(() => this.end());
  }

  private inTurn(work: () => Promise<void>): Promise<Segment[]> {
    const done = this.turn.then(work).then(() => {
      const found = this.found;
      this.found = [];
      return found;
    });
    this.turn = done.catch(() => undefined);
    return done;
  }

  /** Mono samples of a chunk that fits the stream. */
  private checked(chunk: Chunk): Float32Array {
    const where = `the chunk at ${this.seconds.toFixed(3)} s of the stream`;
    let mono: Float32Array;
    let form: string;
    try {
      const { arrays, shape } = arraysOf({ samples: chunk, rate: this.rate });
      if ((arrays[0]?.length ?? 0) === 0) return new Float32Array();
      form = `${arrays.length} channel(s) of ${typeOf(arrays[0])}`;
      if (this.form !== null && form !== this.form) {
        const before = this.form.replace("channel(s) ", "");
        throw new Refused(
          `${where} has ${form}, and the stream had ${before}. Feed chunks of one form: (samples,) or (channels, ` +
            "samples).",
        );
      }
      if (arrays.length > 1 && this.policy.quirks.channels === "strung") {
        throw new Refused(
          `${where} has ${arrays.length} channels, which the policy '${this.policy.name}' strings one behind the other: ` +
            "of a stream that has no end. Feed one channel, or choose another policy.",
        );
      }
      const called = `the array of shape ${tuple(shape)}`;
      const levels = new Levels(called);
      mono = levels.mono(scaled(arrays, called));
      levels.check();
    } catch (error) {
      if (!(error instanceof AudioError) || error instanceof Refused) throw error;
      throw new AudioError(`${where} cannot be used: ${error.message}`);
    }
    this.form = form;
    return mono;
  }

  /** Bring the clock to a timestamp. */
  private async meet(at: number): Promise<void> {
    if (!this.samples && !this.missing) {
      this.start = at;
      this.begin();
      return;
    }
    const late = at - this.seconds;
    if (late < -JITTER) {
      throw new AudioError(
        `the chunk's timestamp is ${at.toFixed(3)} s, and the stream is at ${this.seconds.toFixed(3)} s already: ` +
          "timestamps must not go back.",
      );
    }
    if (late > JITTER) await this.skip(late);
  }

  private async skip(seconds: number): Promise<void> {
    this.owed += seconds;
    if (seconds * this.spec.sample_rate < this.hopSamples) {
      const count = Math.floor(this.owed * this.rate);
      this.owed -= count / this.rate;
      this.bridged += count / this.rate;
      this.samples += count;
      await this.hear(new Float32Array(count));
      return;
    }
    try {
      await this.end();
    } finally {
      this.missing += this.owed;
      this.owed = 0;
      this.begin();
    }
  }

  /** Begin a recording. */
  private begin(): void {
    this.base = this.seconds;
    this.resampler = new Resampler(this.rate, this.spec.sample_rate, this.policy.quirks.resampler);
    this.cutter = new Cutter(this.spec, starts(this.policy, this.spec), this.policy.tail);
    this.begun = false;
  }

  private async hear(samples: Float32Array): Promise<void> {
    this.begun = true;
    await this.embed(this.cutter.push(this.prepared(this.resampler.push(samples))));
  }

  private async end(): Promise<void> {
    if (!this.begun) return;
    await this.embed(this.cutter.push(this.prepared(this.resampler.finish())));
    await this.embed(this.cutter.finish());
    this.begin();
  }

  private prepared(samples: Float32Array): Float32Array {
    return this.spec.int16_round_trip ? roundTripInt16(samples) : samples;
  }

  /** Classify windows, those that are ready at once in batches. */
  private async embed(cuts: Iterable<Cut>): Promise<void> {
    try {
      for (const batch of batched(cuts, this.heardBy.encoder.batchSize)) await this.classify(batch);
    } catch (error) {
      this.begin(); // the rest of the chunk is lost
      throw error;
    }
  }

  private async classify(batch: Cut[]): Promise<void> {
    const { heardBy, gate } = this;
    const isLoud = ({ start, end, row }: Cut) => gate === null || loudness(row.subarray(0, end - start), this.hopSamples) >= gate;
    const loud = batch.filter(isLoud);
    const rows = loud.length > 0 ? await heardBy.encoder.embedWindows(loud.map(({ row }) => row)) : [];
    const rate = this.spec.sample_rate;
    for (const cut of batch) {
      const row = rows[loud.indexOf(cut)];
      const predictions = row ? heardBy.rank([row], this.topK) : [];
      this.found.push({ start: this.base + cut.start / rate, end: this.base + cut.end / rate, predictions });
      if (row) this.windows += 1;
      else this.silent += 1;
    }
  }
}

/** A chunk that does not fit the stream; the sentence is whole. */
class Refused extends AudioError {}
