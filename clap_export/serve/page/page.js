/** The page: recordings in, labels beside them, and what is heard when. */

import * as downloads from "./downloads.js";
import { Labels } from "./labels.js";
import { MOST as LONGEST, Recorder } from "./recorder.js";
import { hear, made } from "./recordings.js";
import { mean, scores, written } from "./scores.js";
import { Refused, Server } from "./server.js";
import * as spectrum from "./spectrum.js";
import * as timeline from "./timeline.js";

const FIRST = ["speech", "music", "dog barking", "birds", "rain", "wind", "engine", "siren", "silence"];

/** @template {HTMLElement} T @param {string} id @param {new () => T} type @returns {T} */
function part(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no '${id}'`);
  return found;
}

const files = part("files", HTMLInputElement);
const drop = part("drop", HTMLLabelElement);
const record = part("record", HTMLButtonElement);
const names = part("names", HTMLTextAreaElement);
const mode = part("scores", HTMLSelectElement);
const queue = part("queue", HTMLElement);
const pictures = part("pictures", HTMLElement);
const canvas = part("spectrogram", HTMLCanvasElement);
const lines = part("timeline", HTMLElement);
const cursor = part("cursor", HTMLElement);
const bars = part("bars", HTMLOListElement);
const player = part("player", HTMLAudioElement);
const status = part("status", HTMLElement);

const server = new Server();
/** @type {any} */
let space = null;
/** @type {Labels} */
let labels;
/** @type {import("./recordings.js").Recording[]} */
const all = [];
/** @type {import("./recordings.js").Recording | null} */
let shown = null;
/** The window under the cursor, or the whole recording. @type {number | null} */
let at = null;
/** Of the recording that is shown, with the labels of now. @type {number[][]} */
let found = [];
/** @type {[number, number][]} */
let parts = [];
/** What the spectrogram was drawn from. */
let drawn = "";
/** @type {Recorder | null} */
let recorder = null;
let working = Promise.resolve();

function say(/** @type {string} */ text, bad = false) {
  status.textContent = text;
  status.classList.toggle("bad", bad);
}

async function begin() {
  const model = part("model", HTMLElement);
  try {
    space = await server.space();
  } catch (error) {
    model.textContent = /** @type {Error} */ (error).message;
    part("key-form", HTMLFormElement).hidden = !(error instanceof Refused && error.status === 401);
    return;
  }
  part("key-form", HTMLFormElement).hidden = true;
  model.textContent = `${space.model}, ${space.dimensions} dimensions, windows of ${space.window_seconds.toFixed(1)} s`;
  labels = new Labels(server, space.limits.texts, relabelled);
  for (const input of [files, record, names, mode]) input.disabled = false;
  if (!space.embeds_text) return kept();
  names.value ||= FIRST.join("\n");
  await labels.use(names.value);
}

/** A server without a text encoder has labels of its own, and no others. */
async function kept() {
  names.readOnly = true;
  part("hint-words", HTMLElement).textContent = "This server has no text encoder: these are its own labels.";
  if (space.default_bank === null) return;
  try {
    const bank = await server.bank(space.default_bank, space.dimensions);
    names.value = bank.names.join("\n");
    labels.take(bank.names, bank.rows);
  } catch (error) {
    relabelled(/** @type {Error} */ (error));
  }
}

function relabelled(/** @type {Error | null} */ error) {
  const place = part("labels-status", HTMLElement);
  place.textContent = error ? error.message : `${labels.names.length} labels.`;
  place.classList.toggle("bad", error !== null);
  if (error === null) score();
}

/** Compare what is shown with the labels of now. */
function score() {
  const windows = shown?.windows ?? null;
  found = windows === null ? [] : timeline.table(windows, labels.rows, chosen(), space.logit_scale);
  list();
  show();
}

function chosen() {
  return /** @type {"softmax" | "cosine"} */ (mode.value);
}

function list() {
  queue.replaceChildren(
    ...all.map((recording) => {
      const button = document.createElement("button");
      const [file, said] = [document.createElement("span"), document.createElement("span")];
      [file.className, said.className] = ["file", "said"];
      file.textContent = recording.name;
      said.textContent = recording.error?.message ?? best(recording);
      said.classList.toggle("bad", recording.error !== null);
      button.append(file, said);
      button.type = "button";
      button.setAttribute("aria-current", String(recording === shown));
      button.addEventListener("click", () => open(recording));
      return button;
    }),
  );
}

function best(/** @type {import("./recordings.js").Recording} */ { windows }) {
  if (windows === null) return "…";
  if (labels.names.length === 0) return "";
  const all = scores(mean(windows.rows), labels.rows, chosen(), space.logit_scale);
  const most = all.indexOf(Math.max(...all));
  return `${labels.names[most]} ${written(all[most], chosen())}`;
}

function open(/** @type {import("./recordings.js").Recording} */ recording) {
  if (shown !== recording) {
    player.src = recording.address;
    at = null;
  }
  shown = recording;
  score();
}

function length() {
  const heard = shown?.windows?.end.at(-1) ?? 0;
  return shown?.sound ? shown.sound.samples.length / shown.sound.rate : heard;
}

/** Draw what is shown. */
function show() {
  const windows = shown?.windows ?? null;
  part("figure", HTMLElement).hidden = windows === null;
  part("downloads", HTMLElement).hidden = windows === null || found.length === 0 || labels.names.length === 0;
  player.hidden = windows === null;
  if (windows !== null && shown !== null) {
    parts = timeline.shares(windows.start, windows.end);
    canvas.hidden = shown.sound === null;
    picture(shown);
    timeline.draw(lines, labels.names, found, parts, length());
    const seconds = `${shown.name}, ${length().toFixed(1)} s`;
    const unseen = shown.sound === null ? " This browser cannot draw it." : "";
    part("caption", HTMLElement).textContent = `${seconds}.${unseen}${windows.warning ? ` ${windows.warning}` : ""}`;
    pictures.setAttribute("aria-valuemax", length().toFixed(2));
  }
  point();
}

/** The spectrogram, anew only where it is another: labels do not change it. */
function picture(/** @type {import("./recordings.js").Recording} */ recording) {
  const now = [recording.address, canvas.clientWidth, canvas.clientHeight, getComputedStyle(canvas).color].join();
  if (now === drawn) return;
  drawn = now;
  spectrum.draw(canvas, recording.sound);
}

/** Show the scores at the cursor, or of the whole. */
function point() {
  const windows = shown?.windows ?? null;
  const title = part("bars-title", HTMLElement);
  cursor.hidden = windows === null || at === null;
  let row = labels.names.map(() => NaN);
  title.textContent = "The whole recording";
  if (windows !== null && labels.names.length > 0) {
    if (at === null) row = scores(mean(windows.rows), labels.rows, chosen(), space.logit_scale);
    else {
      row = found[at];
      const [start, end] = [windows.start[at], windows.end[at]];
      title.textContent = `${start.toFixed(1)} to ${end.toFixed(1)} s`;
      const middle = (parts[at][0] + parts[at][1]) / 2;
      cursor.style.left = `${(100 * middle) / length()}%`;
      pictures.setAttribute("aria-valuenow", middle.toFixed(2));
      pictures.setAttribute("aria-valuetext", `${title.textContent}: ${labels.names[row.indexOf(Math.max(...row))]}`);
    }
  }
  const order = row.map((_, i) => i).sort((a, b) => (row[b] || 0) - (row[a] || 0));
  bars.replaceChildren(
    ...order.map((label, place) => {
      const item = document.createElement("li");
      for (const [name, text] of [["fill", ""], ["text", labels.names[label]], ["score", Number.isNaN(row[label]) ? "" : written(row[label], chosen())]]) {
        const span = document.createElement("span");
        [span.className, span.textContent] = [name, text];
        item.append(span);
      }
      item.style.setProperty("--score", String(Math.max(0, row[label] || 0)));
      item.classList.toggle("top", place === 0 && !Number.isNaN(row[label]));
      return item;
    }),
  );
}

/** One after the other: the first is there soonest, and the server has others to serve. */
function take(/** @type {[Blob, string][]} */ given) {
  for (const [file, name] of given) {
    const recording = made(file, name);
    all.unshift(recording);
    if (all.length > 50) URL.revokeObjectURL(/** @type {any} */ (all.pop()).address);
    working = working.then(async () => {
      say(`Hearing ${name}…`);
      await hear(recording, server, space.window_seconds, new AbortController().signal);
      say(recording.error ? `${name}: ${recording.error.message}` : "", recording.error !== null);
      if (recording.error) list();
      else open(recording);
    });
  }
  list();
}

async function pressed() {
  if (recorder === null) {
    try {
      recorder = await Recorder.begin();
    } catch (error) {
      say(`The microphone cannot be used: ${/** @type {Error} */ (error).message}.`, true);
      return;
    }
    record.setAttribute("aria-pressed", "true");
    tick();
    return;
  }
  const ended = recorder;
  recorder = null;
  record.setAttribute("aria-pressed", "false");
  part("record-name", HTMLElement).textContent = "Record";
  if (ended.seconds === 0) {
    await ended.end();
    say("Nothing came from the microphone.", true);
    return;
  }
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", "-");
  take([[await ended.end(), `recording-${time}.wav`]]);
}

function tick() {
  if (recorder === null) return;
  part("record-name", HTMLElement).textContent = `Stop (${recorder.seconds.toFixed(0)} s)`;
  if (recorder.seconds >= LONGEST) void pressed();
  else setTimeout(tick, 200);
}

function stem() {
  return (shown?.name ?? "recording").replace(/\.[^.]*$/, "");
}

part("key-form", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  server.key = part("key", HTMLInputElement).value.trim();
  void begin();
});
names.addEventListener("input", () => labels.write(names.value));
mode.addEventListener("change", score);
record.addEventListener("click", () => void pressed());
files.addEventListener("change", () => {
  take([...(files.files ?? [])].map((file) => [file, file.name]));
  files.value = "";
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // a file beside the field must not replace the page
    drop.classList.toggle("over", name === "dragover");
  });
}
document.addEventListener("drop", (event) => {
  if (space !== null) take([...(event.dataTransfer?.files ?? [])].map((file) => [file, file.name]));
});
pictures.addEventListener("click", (event) => {
  const { left, width } = pictures.getBoundingClientRect();
  move(timeline.windowAt(parts, ((event.clientX - left) / width) * length()));
});
pictures.addEventListener("keydown", (event) => {
  const steps = new Map([["ArrowRight", 1], ["ArrowLeft", -1], ["PageDown", 10], ["PageUp", -10], ["Home", -Infinity], ["End", Infinity]]);
  const step = steps.get(event.key);
  if (event.key === "Escape") at = null;
  else if (step === undefined) return;
  else at = Math.min(parts.length - 1, Math.max(0, (at ?? (step > 0 ? -1 : parts.length)) + step));
  event.preventDefault();
  if (at !== null) player.currentTime = parts[at][0];
  point();
});
player.addEventListener("timeupdate", () => {
  if (player.paused || parts.length === 0) return;
  at = timeline.windowAt(parts, player.currentTime);
  point();
});
part("csv", HTMLButtonElement).addEventListener("click", () => {
  if (shown?.windows) downloads.save(`${stem()}.csv`, downloads.csv(labels.names, found, shown.windows), "text/csv");
});
part("audacity", HTMLButtonElement).addEventListener("click", () => {
  downloads.save(`${stem()}.txt`, downloads.audacity(labels.names, found, parts), "text/plain");
});
new ResizeObserver(() => shown && show()).observe(pictures);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown && show());

function move(/** @type {number} */ window) {
  at = window;
  player.currentTime = parts[at][0];
  point();
}

await begin();
