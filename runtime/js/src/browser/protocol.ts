/** What a page and its worker say to each other. */

import type { AudioFile, Pcm } from "../audio/recording.js";
import type { Segment } from "../classifier.js";
import type { ClassifierOptions } from "../classifier.js";
import type { Policy } from "../clips/policy.js";
import type { WebOptions } from "../engines/web.js";
import type { PlainError } from "../errors.js";
import type { Names } from "../labels.js";
import type { Counts } from "../listening/listener.js";
import type { RuleOptions } from "../listening/rule.js";
import type { Smoothing } from "../listening/smoother.js";
import type { Event } from "../listening/state.js";
import type { Prediction } from "../scores.js";
import type { Bytes } from "../sources/memory.js";

/** Where a bundle or a tagger is: at an address, in memory, or in files that a user chose. */
export type From =
  | { readonly url: string }
  | { readonly buffers: Readonly<Record<string, Bytes>>; readonly name?: string }
  | { readonly files: readonly File[] };

export interface OpenOptions extends WebOptions {
  readonly windows?: Partial<Policy> | string | null;
}

/** What is known of a model that is open. */
export interface Opened {
  readonly name: string;
  readonly engine: string;
  readonly sampleRate: number;
  readonly windowSeconds: number;
  readonly hasCalibration: boolean;
  /** Labels inside, of a tagger. */
  readonly labels: readonly string[] | null;
}

export interface ListenOptions {
  /** Of the samples that come, in Hz. */
  readonly rate: number;
  readonly hop?: number;
  readonly gate?: number | null;
  readonly rule?: RuleOptions;
  readonly only?: readonly string[];
  readonly smooth?: number;
  readonly smoothing?: Smoothing;
}

export interface Predicted {
  readonly predictions: readonly Prediction[];
  /** What was wrong with a file of which only a part could be read. */
  readonly warning: string | null;
}

/** What was heard of a stream since the last time. */
export interface Heard {
  readonly segments: readonly Segment[];
  readonly events: readonly Event[];
  readonly counts: Counts;
}

/** What a worker does, by name. */
export interface Calls {
  open(from: From, options: OpenOptions): Promise<Opened>;
  openTagger(from: From, options: OpenOptions): Promise<Opened>;
  /** Names, or the bytes of a saved bank; gives the names. */
  label(labels: Names | Bytes, options: ClassifierOptions): Promise<readonly string[]>;
  predict(source: Pcm | AudioFile | Bytes, topK?: number): Promise<Predicted>;
  timeline(source: Pcm | AudioFile | Bytes, hop?: number, topK?: number): Promise<readonly Segment[]>;
  /** Samples come through the port, as float32; what is heard goes to the page. */
  listen(port: MessagePort, options: ListenOptions): Promise<void>;
  /** End the stream that is heard. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

export type CallName = keyof Calls;

export interface Call {
  readonly id: number;
  readonly name: CallName;
  readonly given: readonly unknown[];
}

export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: PlainError }
  | { readonly heard: Heard }
  | { readonly broken: PlainError };
