/** The page's side of a worker. */

import type { ClassifierOptions, Segment } from "../classifier.js";
import type { AudioFile, Pcm } from "../audio/recording.js";
import { fromPlain } from "../errors.js";
import type { Names } from "../labels.js";
import type { Bytes } from "../sources/memory.js";
import type { Call, CallName, Calls, From, Heard, ListenOptions, Opened, OpenOptions, Predicted, Reply } from "./protocol.js";

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** A classifier in a worker. */
export class RemoteClassifier {
  /** Is told what a stream brings. */
  onheard: ((heard: Heard) => void) | null = null;
  /** Is told what ended a stream. */
  onbroken: ((error: Error) => void) | null = null;
  private readonly pending = new Map<number, Pending>();
  private next = 0;

  /** @param worker of `clap-runtime/worker`, a module. */
  constructor(private readonly worker: Worker) {
    worker.onmessage = ({ data }: MessageEvent<Reply>) => this.receive(data);
    worker.onerror = ({ message }) => this.failAll(new Error(`the worker failed: ${message || "it cannot be loaded"}`));
  }

  open(from: From, options: OpenOptions = {}): Promise<Opened> {
    return this.call("open", [from, options]);
  }

  openTagger(from: From, options: OpenOptions = {}): Promise<Opened> {
    return this.call("openTagger", [from, options]);
  }

  /** Look for other labels: names, or a saved bank; a stream that is heard goes on with them. */
  label(labels: Names | Bytes, options: ClassifierOptions = {}): Promise<readonly string[]> {
    return this.call("label", [labels, options]);
  }

  predict(source: Pcm | AudioFile | Bytes, topK?: number): Promise<Predicted> {
    return this.call("predict", [source, topK]);
  }

  timeline(source: Pcm | AudioFile | Bytes, hop?: number, topK?: number): Promise<readonly Segment[]> {
    return this.call("timeline", [source, hop, topK]);
  }

  /** Hear float32 samples that come through a port, of one channel. */
  listen(port: MessagePort, options: ListenOptions): Promise<void> {
    return this.call("listen", [port, options], [port]);
  }

  /** End the stream; what is open is told before. */
  stop(): Promise<void> {
    return this.call("stop", []);
  }

  /** Release the engines, and end the worker. */
  async close(): Promise<void> {
    await this.call("close", []);
    this.worker.terminate();
  }

  private call<N extends CallName>(name: N, given: readonly unknown[], transfer: Transferable[] = []): ReturnType<Calls[N]> {
    const id = (this.next += 1);
    const done = new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
    this.worker.postMessage({ id, name, given } satisfies Call, transfer);
    return done as ReturnType<Calls[N]>;
  }

  private receive(reply: Reply): void {
    if ("heard" in reply) this.onheard?.(reply.heard);
    else if ("broken" in reply) this.onbroken?.(fromPlain(reply.broken));
    else {
      const pending = this.pending.get(reply.id);
      this.pending.delete(reply.id);
      if ("error" in reply) pending?.reject(fromPlain(reply.error));
      else pending?.resolve(reply.result);
    }
  }

  private failAll(error: Error): void {
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }
}
