/** The page: a model in a worker, sounds from files or the microphone, and what they are. */

import type { Event } from "clap-runtime";
import { type Heard, Microphone, type Opened, RemoteClassifier } from "clap-runtime/web";

import { Bars, percent } from "./bars.js";
import { Files } from "./files.js";
import { Spectrogram } from "./spectrogram.js";

const PAUSE = 600; // milliseconds without a key until labels are used
const RULE = { on: 0.4, off: 0.25, gap: 1 };
const MOST_EVENTS = 100;

interface Page {
  readonly bundle?: string;
  readonly tagger?: string;
  readonly labels?: readonly string[];
}

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

const status = element("status");
const names = element<HTMLTextAreaElement>("names");
const choose = element<HTMLInputElement>("files");
const button = element<HTMLButtonElement>("microphone");
const drop = element("drop");
const clock = element("clock");
const source = element("source");
const bars = new Bars(element("bars"));
const spectrogram = new Spectrogram(element<HTMLCanvasElement>("spectrogram"));
const classifier = new RemoteClassifier(new Worker(new URL("worker.js", import.meta.url), { type: "module" }));
const player = element<HTMLAudioElement>("player");
const files = new Files({ list: element("results"), player, source, bars, spectrogram }, classifier);
let microphone: Microphone | null = null;

function say(text: string, isBad = false): void {
  status.textContent = text;
  status.classList.toggle("bad", isBad);
}

/** Do something, and say what went wrong. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
  }
}

async function start(): Promise<void> {
  const page = (await (await fetch("page.json")).json()) as Page;
  const from = { url: new URL(page.tagger ?? `${page.bundle}/`, location.href).href };
  const options = { wasmPath: new URL("./", import.meta.url).href };
  const opened = page.tagger ? await classifier.openTagger(from, options) : await classifier.open(from, options);
  element("model").textContent = describe(opened);
  if (opened.labels) {
    bars.label(opened.labels);
    element("editor").hidden = true;
  } else {
    names.value = (page.labels ?? []).join("\n");
    await relabel();
    names.disabled = false;
  }
  choose.disabled = button.disabled = false;
}

function describe({ name, sampleRate, windowSeconds, engine }: Opened): string {
  const threads = crossOriginIsolated ? "" : ", one thread";
  return `${name} hears ${windowSeconds} s at a time, at ${sampleRate / 1000} kHz (${engine}${threads}).`;
}

async function relabel(): Promise<void> {
  const wanted = names.value.split("\n").map((name) => name.trim()).filter(Boolean);
  bars.label(await classifier.label([...new Set(wanted)]));
  say("");
  await files.again();
}

let waiting: ReturnType<typeof setTimeout> | undefined;
names.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => void attempt(relabel), PAUSE);
});

async function hearFiles(chosen: Iterable<File>): Promise<void> {
  await silence();
  await files.add(chosen, say);
}

choose.addEventListener("change", () => {
  const chosen = [...(choose.files ?? [])];
  choose.value = "";
  void attempt(() => hearFiles(chosen));
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  const dropped = [...(event.dataTransfer?.files ?? [])];
  if (!choose.disabled && dropped.length > 0) void attempt(() => hearFiles(dropped));
});

let isBusy = false; // a button that is disabled would lose the focus
button.addEventListener("click", () => {
  if (isBusy) return;
  isBusy = true;
  void attempt(() => (microphone === null ? listen() : silence())).finally(() => (isBusy = false));
});

async function listen(): Promise<void> {
  files.hide();
  bars.show([]);
  microphone = await Microphone.open(classifier, { worklet: new URL("worklet.js", import.meta.url), rule: RULE, smooth: 3 });
  spectrogram.show(microphone.node);
  button.setAttribute("aria-pressed", "true");
  (button.querySelector(".name") as HTMLElement).textContent = "Stop";
  source.textContent = "Microphone";
  say("Listening: the first result comes when a window is full.");
}

async function silence(): Promise<void> {
  if (microphone === null) return;
  const open = microphone;
  microphone = null;
  spectrogram.show(null);
  await open.close();
  button.setAttribute("aria-pressed", "false");
  (button.querySelector(".name") as HTMLElement).textContent = "Use the microphone";
  clock.textContent = "";
  source.textContent = "Nothing is heard now.";
  say("");
}

classifier.onheard = ({ segments, events, counts }: Heard) => {
  const last = segments.at(-1);
  if (last && microphone !== null) {
    bars.show(last.predictions);
    say("");
    clock.textContent = time(counts.seconds);
  }
  for (const event of events) if (event.phase === "ended") tell(event);
};
classifier.onbroken = (error) => void silence().then(() => say(error.message, true));

function tell({ label, start: from, end, peak }: Event): void {
  const row = document.createElement("li");
  const when = document.createElement("time");
  when.textContent = `${time(from)}–${time(end)}`;
  row.append(`${label} ${percent(peak)}`, when);
  const list = element("events");
  list.prepend(row);
  while (list.children.length > MOST_EVENTS) list.lastChild?.remove();
}

function time(seconds: number): string {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

await attempt(start);
if (choose.disabled) element("model").textContent = "The model could not be opened.";
