/** Files that were heard: a list to choose from, and a player for the one that is chosen. */

import type { Segment } from "clap-runtime";
import { decodeFile, type RemoteClassifier } from "clap-runtime/web";

import { type Bars, percent } from "./bars.js";
import type { Spectrogram } from "./spectrogram.js";

const HOP = 1; // seconds

interface Heard {
  readonly file: File;
  readonly row: HTMLLIElement;
  segments: readonly Segment[];
}

export class Files {
  private readonly all: Heard[] = [];
  private shown: Heard | null = null;
  private context: AudioContext | null = null;
  private output: AudioNode | null = null;

  constructor(
    private readonly page: {
      readonly list: HTMLElement;
      readonly player: HTMLAudioElement;
      readonly source: HTMLElement;
      readonly bars: Bars;
      readonly spectrogram: Spectrogram;
    },
    private readonly classifier: RemoteClassifier,
  ) {
    const { player } = page;
    player.addEventListener("timeupdate", () => this.follow());
    player.addEventListener("seeked", () => this.follow());
    player.addEventListener("play", () => void this.listenIn());
  }

  /** Hear files one after the other; the first is shown as soon as it is heard. */
  async add(files: Iterable<File>, say: (text: string) => void): Promise<void> {
    const added = Array.from(files, (file) => this.listed(file));
    let isFirst = true;
    for (const heard of added) {
      say(`Hearing ${heard.file.name}…`);
      await this.hear(heard);
      if (isFirst && heard.segments.length > 0) {
        this.show(heard);
        isFirst = false;
      }
    }
    say("");
  }

  /** Hear all of them again, as for other labels. */
  async again(): Promise<void> {
    for (const heard of [...this.all]) await this.hear(heard);
    this.follow();
  }

  hide(): void {
    this.page.player.pause();
    this.page.player.hidden = true;
    this.mark(null);
  }

  private listed(file: File): Heard {
    const row = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.append(span("file", file.name), span("best", "…"));
    const heard: Heard = { file, row, segments: [] };
    button.addEventListener("click", () => this.show(heard));
    row.append(button);
    this.page.list.prepend(row);
    this.all.push(heard);
    return heard;
  }

  private async hear(heard: Heard): Promise<void> {
    const best = heard.row.querySelector(".best") as HTMLElement;
    heard.row.querySelector(".error")?.remove();
    try {
      const sound = await decodeFile(heard.file);
      const { predictions, warning } = await this.classifier.predict(sound, 1);
      const [first] = predictions;
      best.className = "best";
      best.textContent = first ? `${first.label} ${percent(first.score)}` : "none of these";
      best.title = warning ?? "";
      heard.segments = await this.classifier.timeline(sound, HOP);
    } catch (error) {
      best.className = "best failed";
      best.textContent = "cannot be used";
      const reason = document.createElement("p");
      reason.className = "error";
      reason.textContent = error instanceof Error ? error.message : String(error);
      heard.row.append(reason);
    }
  }

  private show(heard: Heard): void {
    const { player, source } = this.page;
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(heard.file);
    player.hidden = false;
    source.textContent = heard.file.name;
    this.mark(heard);
    this.follow();
  }

  private mark(shown: Heard | null): void {
    this.shown = shown;
    for (const { row } of this.all) row.removeAttribute("aria-current");
    shown?.row.setAttribute("aria-current", "true");
  }

  /** The bars of the window that is nearest to what is played. */
  private follow(): void {
    const { player, bars } = this.page;
    if (this.shown === null) return;
    const away = (segment: Segment) => Math.abs((segment.start + segment.end) / 2 - player.currentTime);
    const [nearest] = [...this.shown.segments].sort((a, b) => away(a) - away(b));
    bars.show(nearest?.predictions ?? []);
  }

  private async listenIn(): Promise<void> {
    const { player, spectrogram } = this.page;
    if (this.context === null || this.output === null) {
      this.context = new AudioContext();
      this.output = this.context.createMediaElementSource(player);
      this.output.connect(this.context.destination);
    }
    await this.context.resume();
    spectrogram.show(this.output);
  }
}

function span(name: string, text: string): HTMLSpanElement {
  const found = document.createElement("span");
  found.className = name;
  found.textContent = text;
  return found;
}
