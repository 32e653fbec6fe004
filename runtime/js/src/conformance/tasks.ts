/** What a reader of bundles is asked, by task; docs/conformance.md describes the tasks. */

import { readRecording, type Source } from "../audio/recording.js";
import { checkRate } from "../audio/levels.js";
import { resample } from "../audio/resampler.js";
import { Classifier, type Segment } from "../classifier.js";
import { clipSpaceId, type Policy, POLICY } from "../clips/policy.js";
import { Encoder } from "../encoder.js";
import type { Engine } from "../engines/engine.js";
import { AudioError, ClapError } from "../errors.js";
import { Bundle } from "../format/bundle.js";
import { textEncoder } from "../format/manifest.js";
import { LabelBank } from "../labels.js";
import { Events } from "../listening/events.js";
import { type Chunk, Listener } from "../listening/listener.js";
import { Rule, type RuleOptions } from "../listening/rule.js";
import type { Mode, Prediction } from "../scores.js";
import type { BundleSource } from "../sources/source.js";
import { Tagger } from "../tagger.js";
import { readJson } from "../text/json.js";
import { read } from "../text/schema.js";
import { TextTokenizer } from "../tokenizer.js";
import { fromBase64, ofTensor, type Plain, type Shaped, toArray, type WireArray } from "./wire.js";

/** Where a kit's files are. */
export interface Files {
  /** A file's bytes by its full path; null where there is none. */
  read(path: string): Promise<Uint8Array | null>;
  bundle(path: string): BundleSource;
}

type Input = Readonly<Record<string, Plain | undefined>>;
type Outputs = Record<string, unknown>;
type Task = (given: Input) => Promise<Outputs>;

const MOST_KEPT = 4; // encoders that stay open for the next question

/** This runtime as a reader of one kit. */
export class Reader {
  private readonly encoders = new Map<string, Promise<Encoder>>();
  private readonly tasks: Readonly<Record<string, Task>> = {
    space: (given) => this.space(given),
    decode: (given) => this.decode(given),
    resample: (given) => this.resample(given),
    windows: (given) => this.windows(given),
    embed: async (given) => ({ embedding: await (await this.encoder(given)).embedAudio(await this.sound(given)) }),
    tokens: (given) => this.tokens(given),
    embed_text: (given) => this.embedText(given),
    bank: (given) => this.bank(given),
    classify: async (given) => ranked(await (await this.classifier(given)).predict(await this.sound(given))),
    timeline: (given) => this.timeline(given),
    listen: (given) => this.listen(given),
    tagger: (given) => this.tagger(given),
  };

  constructor(
    private readonly kit: string,
    private readonly files: Files,
    private readonly engine: Engine,
  ) {}

  /**
   * The outputs of a task, by name.
   *
   * @throws ClapError what the runtime says of such input, or a task that is not known.
   */
  answer(task: string, given: Input): Promise<Outputs> {
    const work = Object.hasOwn(this.tasks, task) ? this.tasks[task] : undefined;
    if (work === undefined) {
      throw new ClapError(`the task '${task}' is not known: ${Object.keys(this.tasks).join(", ")} are.`);
    }
    return work(given);
  }

  private path(name: unknown): string {
    return `${this.kit}/${String(name)}`;
  }

  private async array(given: unknown): Promise<Shaped> {
    const wire = given as WireArray;
    if (wire.base64 !== undefined) return toArray(wire, fromBase64(wire.base64));
    const bytes = await this.files.read(this.path(wire.file));
    if (bytes === null) throw new Error(`${wire.file} is missing in the kit`);
    return toArray(wire, bytes);
  }

  private async sound(given: Input): Promise<Source> {
    if (given.wav !== undefined) return this.wav(given.wav);
    return { samples: channels(await this.array(given.samples)) as Float32Array, rate: given.rate as number };
  }

  private async wav(file: unknown): Promise<Source> {
    const path = this.path(file);
    const bytes = await this.files.read(path);
    if (bytes === null) throw new AudioError(`'${path}' does not exist. Check the path.`);
    return { bytes, name: `'${path}'` };
  }

  private encoder(given: Input): Promise<Encoder> {
    const key = JSON.stringify([given.bundle, given.policy ?? null]);
    const found = this.encoders.get(key);
    if (found !== undefined) return found;
    const made = this.makeEncoder(given);
    this.encoders.set(key, made);
    made.catch(() => this.encoders.delete(key));
    const [oldest] = this.encoders;
    if (this.encoders.size > MOST_KEPT && oldest) {
      this.encoders.delete(oldest[0]);
      void oldest[1].then((encoder) => encoder.close(), () => undefined);
    }
    return made;
  }

  private async makeEncoder({ bundle, policy }: Input): Promise<Encoder> {
    const opened = await Bundle.open(this.files.bundle(this.path(bundle)));
    return new Encoder(opened, { engine: this.engine, windows: policyFrom(policy) });
  }

  private async loadBank(file: unknown): Promise<LabelBank> {
    const path = this.path(file);
    return LabelBank.load(await this.files.read(path), path);
  }

  private async classifier(given: Input): Promise<Classifier> {
    const { bank, labels, template, scores, threshold, top_k } = given;
    const encoder = await this.encoder(given);
    const chosen = bank === undefined || bank === null ? (labels as string[]) : await this.loadBank(bank);
    return Classifier.of(encoder, chosen, {
      scores: (scores ?? null) as Mode | null,
      threshold: (threshold ?? null) as number | null,
      topK: (top_k ?? null) as number | null,
      ...(template === undefined || template === null ? {} : { templates: template as string }),
    });
  }

  private async space({ bundle }: Input): Promise<Outputs> {
    const { manifest } = await Bundle.open(this.files.bundle(this.path(bundle)), { checkHashes: true });
    const { audio, space_id, embedding_dim, logit_scale, policy } = manifest;
    const { sample_rate, window_samples, hop_samples } = audio;
    const clip_space_id = await clipSpaceId(policy, space_id, audio);
    return { space_id, clip_space_id, sample_rate, window_samples, hop_samples, embedding_dim, logit_scale };
  }

  private async decode({ wav }: Input): Promise<Outputs> {
    return { ...readRecording(await this.wav(wav)) };
  }

  private async resample({ samples, rate, to }: Input): Promise<Outputs> {
    const { data } = await this.array(samples);
    return { samples: resample(data as Float32Array, checkRate(rate), checkRate(to)) };
  }

  private async windows(given: Input): Promise<Outputs> {
    const encoder = await this.encoder(given);
    const { sample_rate: rate, window_samples: length } = encoder.manifest.audio;
    const { data } = await this.array(given.samples);
    const recording = encoder.read({ samples: data as Float32Array, rate });
    const cuts = [...encoder.cuts(recording.samples)];
    const rows = new Float32Array(cuts.length * length);
    cuts.forEach(({ row }, i) => rows.set(row, i * length));
    return {
      windows: { data: rows, shape: [cuts.length, length] },
      starts: cuts.map(({ start }) => start),
      ends: cuts.map(({ end }) => end),
    };
  }

  private async tokens({ bundle, texts }: Input): Promise<Outputs> {
    const opened = await Bundle.open(this.files.bundle(this.path(bundle)));
    const { spec } = textEncoder(opened.manifest);
    const { data, path } = await opened.read(spec.tokenizer);
    const tokens = (await TextTokenizer.open(data, path, spec)).tokens(texts as string[]);
    return Object.fromEntries(Object.entries(tokens).map(([name, tensor]) => [name, ofTensor(tensor)]));
  }

  private async embedText(given: Input): Promise<Outputs> {
    const rows = await (await this.encoder(given)).embedText(given.texts as string[]);
    return { embeddings: together(rows) };
  }

  private async bank({ bank, bundle }: Input): Promise<Outputs> {
    const found = await this.loadBank(bank);
    const { manifest } = await Bundle.open(this.files.bundle(this.path(bundle)));
    found.checkFits(manifest.space_id, manifest.embedding_dim);
    const { names, templates, embeddings: data, dim, head } = found;
    return {
      names: [...names],
      templates: [...templates],
      embeddings: { data, shape: [names.length, dim] },
      ...(head && { scores: head.about.scores, scales: head.scales, biases: head.biases }),
    };
  }

  private async timeline(given: Input): Promise<Outputs> {
    const classifier = await this.classifier(given);
    const segments = await classifier.timeline(await this.sound(given), (given.hop ?? undefined) as number | undefined);
    const rows = segments.map(({ predictions }) => {
      const scores = new Map(predictions.map(({ label, score }) => [label, score]));
      return Float32Array.from(classifier.labels, (label) => scores.get(label) as number);
    });
    return {
      starts: segments.map(({ start }) => start),
      ends: segments.map(({ end }) => end),
      labels: [...classifier.labels],
      scores: together(rows),
    };
  }

  private async listen(given: Input): Promise<Outputs> {
    const classifier = await this.classifier(given);
    const { samples, rate } = (await this.sound(given)) as { samples: Chunk; rate: number };
    const listener = new Listener(classifier, rate, { hop: given.hop as number, gate: (given.gate ?? null) as number | null });
    const gaps = new Map((given.gaps as { before: number; seconds: number }[] | undefined)?.map((g) => [g.before, g.seconds]));
    const segments: Segment[] = [];
    let at = 0;
    for (const [number, size] of (given.chunks as number[]).entries()) {
      const gap = gaps.get(number);
      if (gap !== undefined) segments.push(...(await listener.gap(gap)));
      segments.push(...(await listener.feed(part(samples, at, at + size))));
      at += size;
    }
    segments.push(...(await listener.flush()));
    const events = new Events({
      rule: new Rule(given.rule as RuleOptions),
      smooth: (given.smooth ?? 1) as number,
      smoothing: (given.smoothing ?? "median") as "median" | "mean",
    });
    const found = [...segments.flatMap((segment) => events.push(segment)), ...events.finish()];
    return {
      events: found
        .filter(({ phase }) => phase === "ended")
        .map(({ label, start, end, peak, peakAt }) => ({ label, start, end, peak, peak_at: peakAt })),
      segments: segments.length,
      silent: listener.counts.silent,
    };
  }

  private async tagger(given: Input): Promise<Outputs> {
    const path = this.path(given.tagger);
    const options = { engine: this.engine, topK: (given.top_k ?? null) as number | null };
    const tagger = await Tagger.open(await this.files.read(path), options, path);
    try {
      return ranked(await tagger.predict(await this.sound(given)));
    } finally {
      await tagger.close();
    }
  }
}

function policyFrom(given: Plain | undefined): Policy | string | null {
  if (typeof given !== "object" || given === null) return (given ?? null) as string | null;
  return read(POLICY, readJson(new TextEncoder().encode(JSON.stringify(given)), "policy"), "policy");
}

function ranked(predictions: readonly Prediction[]): Outputs {
  return {
    labels: predictions.map(({ label }) => label),
    scores: predictions.map(({ score }) => score),
    similarities: predictions.map(({ similarity }) => similarity),
  };
}

function together(rows: readonly Float32Array[]): Shaped {
  const width = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * width);
  rows.forEach((row, i) => data.set(row, i * width));
  return { data, shape: [rows.length, width] };
}

/** Rows of an array `[channels, n]`; `[n]` as it is. */
function channels({ data, shape }: Shaped): Chunk {
  const [count = 0, length = 0] = shape;
  if (shape.length === 1) return data as Float32Array;
  return Array.from({ length: count }, (_, i) => data.subarray(i * length, (i + 1) * length) as Float32Array);
}

function part(samples: Chunk, from: number, to: number): Chunk {
  return Array.isArray(samples)
    ? samples.map((channel) => (channel as Float32Array).subarray(from, to))
    : (samples as Float32Array).subarray(from, to);
}
