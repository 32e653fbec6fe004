/** The worker: all that computes runs here, none of it on the page's main thread. */

import type { Source } from "../audio/recording.js";
import { Classifier, type ClassifierOptions } from "../classifier.js";
import { Encoder } from "../encoder.js";
import { WebEngine } from "../engines/web.js";
import { BundleError, ClapError, toPlain } from "../errors.js";
import { Bundle } from "../format/bundle.js";
import { LabelBank, type Names } from "../labels.js";
import { FilesSource } from "../sources/files.js";
import { type Bytes, MemorySource } from "../sources/memory.js";
import type { BundleSource } from "../sources/source.js";
import { fetched, UrlSource } from "../sources/url.js";
import { Tagger } from "../tagger.js";
import type { Call, Calls, From, ListenOptions, Opened, OpenOptions, Reply } from "./protocol.js";
import { Stream } from "./stream.js";

// Of a worker's own global; the types here are a page's.
const page = globalThis as unknown as {
  postMessage(message: Reply): void;
  onmessage: ((event: MessageEvent<Call>) => void) | null;
};

class Work implements Calls {
  private encoder: Encoder | null = null;
  private classifier: Classifier | null = null;
  private stream: Stream | null = null;

  async open(from: From, options: OpenOptions): Promise<Opened> {
    await this.close();
    const engine = new WebEngine(options);
    this.encoder = new Encoder(await Bundle.open(sourceOf(from)), { engine, windows: options.windows ?? null });
    await this.encoder.openAudio();
    return describe(this.encoder, engine, null);
  }

  async openTagger(from: From, options: OpenOptions): Promise<Opened> {
    await this.close();
    const engine = new WebEngine(options);
    const { data, name } = await taggerBytes(from);
    const tagger = await Tagger.open(data, { engine, windows: options.windows ?? null }, name);
    this.classifier = tagger;
    return describe(tagger.encoder, engine, tagger.labels);
  }

  async label(labels: Names | Bytes, options: ClassifierOptions): Promise<readonly string[]> {
    if (this.encoder === null) throw new ClapError("labels are for a bundle: open one first.");
    const isBank = labels instanceof ArrayBuffer || labels instanceof Uint8Array;
    const chosen = isBank ? await LabelBank.load(labels) : (labels as Names);
    this.classifier = await Classifier.of(this.encoder, chosen, options);
    this.stream?.exchange(this.classifier);
    return this.classifier.labels;
  }

  async predict(source: Source, topK?: number) {
    const classifier = this.ready();
    const recording = classifier.encoder.read(source);
    return { predictions: await classifier.predictRecording(recording, topK), warning: recording.warning };
  }

  async timeline(source: Source, hop?: number, topK?: number) {
    return this.ready().timeline(source, hop, topK);
  }

  async listen(port: MessagePort, options: ListenOptions): Promise<void> {
    await this.stop();
    this.stream = new Stream(
      this.ready(), port, options,
      (heard) => page.postMessage({ heard }),
      (error) => page.postMessage({ broken: toPlain(error) }),
    );
  }

  async stop(): Promise<void> {
    const { stream } = this;
    this.stream = null;
    await stream?.end();
  }

  async close(): Promise<void> {
    await this.stop();
    const encoder = this.encoder ?? this.classifier?.encoder;
    this.encoder = this.classifier = null;
    await encoder?.close();
  }

  private ready(): Classifier {
    if (this.classifier === null) throw new ClapError("there are no labels: open a tagger, or a bundle and give labels.");
    return this.classifier;
  }
}

function sourceOf(from: From): BundleSource {
  if ("url" in from) return new UrlSource(from.url);
  return "files" in from ? new FilesSource(from.files) : new MemorySource(from.buffers, from.name);
}

async function taggerBytes(from: From): Promise<{ data: Bytes | null; name: string }> {
  if ("url" in from) return { data: await fetched(from.url), name: from.url };
  if ("files" in from && from.files[0]) return { data: await from.files[0].arrayBuffer(), name: from.files[0].name };
  const [entry] = "buffers" in from ? Object.entries(from.buffers) : [];
  if (entry === undefined) throw new BundleError("no tagger was given: pass its file.");
  return { data: entry[1], name: entry[0] };
}

function describe(encoder: Encoder, engine: WebEngine, labels: readonly string[] | null): Opened {
  const { name, audio, calibration } = encoder.manifest;
  return {
    name,
    engine: engine.name,
    sampleRate: audio.sample_rate,
    windowSeconds: audio.window_samples / audio.sample_rate,
    hasCalibration: calibration !== null,
    labels,
  };
}

const work = new Work();

page.onmessage = async ({ data: { id, name, given } }) => {
  try {
    const call = work[name] as (...given: unknown[]) => Promise<unknown>;
    page.postMessage({ id, result: await call.apply(work, [...given]) });
  } catch (error) {
    page.postMessage({ id, error: toPlain(error) });
  }
};
