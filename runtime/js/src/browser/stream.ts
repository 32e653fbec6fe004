/** A stream in a worker: samples from a port through a listener to events. */

import type { Segment } from "../classifier.js";
import type { Classifier } from "../classifier.js";
import { Events } from "../listening/events.js";
import { Listener } from "../listening/listener.js";
import { Rule } from "../listening/rule.js";
import { Backlog } from "./backlog.js";
import type { Heard, ListenOptions } from "./protocol.js";

const MOST_WAITING = 10; // seconds

export class Stream {
  private readonly listener: Listener;
  private readonly events: Events;
  private readonly backlog: Backlog;
  private working: Promise<void> | null = null;
  private ended = false;

  /**
   * @param heard is told what is heard.
   * @param broken is told what ended the stream.
   */
  constructor(
    classifier: Classifier,
    private readonly port: MessagePort,
    private readonly options: ListenOptions,
    private readonly heard: (heard: Heard) => void,
    private readonly broken: (error: unknown) => void,
  ) {
    const { rate, hop, gate, rule, only, smooth, smoothing } = options;
    this.listener = new Listener(classifier, rate, { ...(hop === undefined ? {} : { hop }), gate: gate ?? null });
    this.events = new Events({
      rule: new Rule(rule),
      ...(only === undefined ? {} : { only }),
      ...(smooth === undefined ? {} : { smooth }),
      ...(smoothing === undefined ? {} : { smoothing }),
    });
    this.backlog = new Backlog(MOST_WAITING * rate);
    port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
      this.backlog.push(data);
      this.working ??= this.work();
    };
  }

  exchange(classifier: Classifier): void {
    this.listener.exchange(classifier);
  }

  /** Hear what waits, and end all that is open. */
  async end(): Promise<void> {
    this.port.close();
    await this.working;
    if (this.ended) return;
    this.ended = true;
    const segments = await this.listener.flush();
    this.tell(segments, true);
  }

  private async work(): Promise<void> {
    try {
      for (let next = this.backlog.take(); next !== null && !this.ended; next = this.backlog.take()) {
        if (next.missing > 0) this.tell(await this.listener.gap(next.missing / this.options.rate));
        this.tell(await this.listener.feed(next.samples));
      }
    } catch (error) {
      this.ended = true;
      this.port.close();
      this.broken(error);
    } finally {
      this.working = null;
    }
  }

  private tell(segments: readonly Segment[], isLast = false): void {
    const events = segments.flatMap((segment) => this.events.push(segment));
    if (isLast) events.push(...this.events.finish());
    if (segments.length > 0 || events.length > 0) this.heard({ segments, events, counts: this.listener.counts });
  }
}
