/**
 * Sizes, start and speed of the JavaScript runtime: node benchmarks/js/measure.mjs BUNDLE SOUND.wav [OUT.json]
 *
 * Node and Chromium run one thread each. It needs `npm ci && npm run build` in runtime/js, and Debian's chromium.
 */

import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { RUNTIME, sizes, writeModel, writeScripts } from "../../runtime/js/scripts/page.mjs";
import { inBrowser, serve } from "../../tests/runtime/js/browser.mjs";

const [bundle, sound, out] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const LABELS = ["dog", "rain", "siren", "car horn", "engine", "church bells"];
const RUNS = 12;
const SECONDS = 60; // of a recording whose speed is taken

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function inNode() {
  const begin = performance.now();
  const { Classifier, Encoder, readRecording } = await import(join(RUNTIME, "dist/index.js"));
  const { NodeEngine, openAudio, openBundle } = await import(join(RUNTIME, "dist/node.js"));
  const encoder = new Encoder(await openBundle(bundle), { engine: new NodeEngine({ threads: 1 }) });
  const classifier = await Classifier.of(encoder, LABELS);
  const file = await openAudio(sound);
  await classifier.predict(file);
  const first = performance.now() - begin;
  const { samples, rate } = readRecording(file);
  const long = { samples: repeated(samples, SECONDS * rate), rate };
  const [clips, resampling, recordings] = [[], [], []];
  for (let i = 0; i < RUNS; i += 1) clips.push(await timed(() => classifier.predict(file)));
  for (let i = 0; i < 3; i += 1) recordings.push(await timed(() => classifier.predict(long)));
  for (let i = 0; i < 3; i += 1) resampling.push(await timed(async () => encoder.read(long)));
  await classifier.close();
  return { first_ms: first, clip_ms: median(clips), real_time_factor: (SECONDS * 1000) / median(recordings), read_60_s_ms: median(resampling) };
}

function repeated(samples, count) {
  return Float32Array.from({ length: count }, (_, i) => samples[i % samples.length]);
}

async function timed(work) {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

async function inChromium(folder) {
  const server = await serve({ "/": folder });
  const found = await inBrowser(async (context) => {
    const tab = await context.newPage();
    await tab.goto(server.url);
    return tab.evaluate(async ({ labels, runs, seconds }) => globalThis.measure(labels, runs, seconds), { labels: LABELS, runs: RUNS, seconds: SECONDS });
  }).finally(() => server.close());
  const { clips, recordings, ...rest } = found;
  return { ...rest, clip_ms: median(clips), real_time_factor: (SECONDS * 1000) / median(recordings) };
}

async function sizesOf(folder) {
  const found = { ours: 0, ours_gzip: 0, ort_js: 0, tokenizers: 0, wasm: 0, model: 0 };
  for (const [path, size] of Object.entries(await sizes(folder))) {
    const name = relative(folder, path);
    if (name.startsWith("bundle/")) found.model += size;
    else if (extname(name) === ".wasm") found.wasm += size;
    else if (/^ort/.test(name)) found.ort_js += size;
    else if (name.startsWith("tokenizers")) found.tokenizers += size;
    else if (extname(name) === ".js" && !name.startsWith("app")) {
      found.ours += size;
      found.ours_gzip += gzipSync(await readFile(path)).length;
    }
  }
  return found;
}

const folder = await mkdtemp(join(tmpdir(), "clap-measure-"));
try {
  await writeScripts(folder, { app: join(here, "page.ts") });
  await writeModel(folder, { model: bundle, labels: LABELS });
  await cp(sound, join(folder, "sound.wav"));
  await writeFile(join(folder, "index.html"), '<!doctype html><title>measure</title><script type="module" src="app.js"></script>');
  const report = {
    machine: cpus()[0].model,
    node: process.version,
    bytes: await sizesOf(folder),
    node_one_thread: await inNode(),
    chromium_wasm_one_thread: await inChromium(folder),
  };
  const text = `${JSON.stringify(report, null, 2)}\n`;
  process.stdout.write(text);
  if (out) await writeFile(out, text);
} finally {
  await rm(folder, { recursive: true, force: true });
}
