/**
 * The same weights in transformers.js and here, in Node on one thread:
 * node benchmarks/js/peer.mjs TRANSFORMERS PEER BUNDLE SOUND.wav
 *
 * TRANSFORMERS is a folder in which `npm install --ignore-scripts @huggingface/transformers` was run, PEER what
 * peer_model.py made of a checkpoint, BUNDLE what clap-export made of it, SOUND.wav a clip of one window.
 */

import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { RUNTIME } from "../../runtime/js/scripts/page.mjs";

const [folder, peer, bundle, sound] = process.argv.slice(2).map((path) => resolve(path));
const LABELS = ["dog", "rain", "siren", "car horn", "engine", "church bells"];
const RUNS = 8;

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function timed(work) {
  const begin = performance.now();
  const result = await work();
  return [performance.now() - begin, result];
}

async function measured(open) {
  const begin = performance.now();
  const predict = await open();
  const [, scores] = await timed(predict);
  const first = performance.now() - begin;
  const times = [];
  for (let i = 0; i < RUNS; i += 1) times.push((await timed(predict))[0]);
  return { first_ms: first, clip_ms: median(times), scores };
}

const { Classifier, Encoder, readRecording, resample } = await import(join(RUNTIME, "dist/index.js"));
const { NodeEngine, openAudio, openBundle } = await import(join(RUNTIME, "dist/node.js"));
const file = await openAudio(sound);

const theirs = await measured(async () => {
  const { env, pipeline } = await import(pathToFileURL(join(folder, "node_modules/@huggingface/transformers/dist/transformers.node.mjs")));
  Object.assign(env, { allowRemoteModels: false, localModelPath: `${dirname(peer)}/` });
  const options = { dtype: "fp32", session_options: { intraOpNumThreads: 1 } };
  const classify = await pipeline("zero-shot-audio-classification", basename(peer), options);
  const { sampling_rate: rate } = classify.processor.feature_extractor.config;
  const { samples, rate: own } = readRecording(file);
  const given = resample(samples, own, rate); // it takes samples at the model's rate, or files in browsers
  return () => classify(given, LABELS);
});
const ours = await measured(async () => {
  const encoder = new Encoder(await openBundle(bundle), { engine: new NodeEngine({ threads: 1 }) });
  const classifier = await Classifier.of(encoder, LABELS);
  return () => classifier.predict(file);
});
const scoreOf = (scores, label) => scores.find((found) => found.label === label).score;
const apart = Math.max(...LABELS.map((label) => Math.abs(scoreOf(theirs.scores, label) - scoreOf(ours.scores, label))));
for (const found of [theirs, ours]) delete found.scores;
console.log(JSON.stringify({ transformers_js: theirs, clap_runtime: ours, scores_apart: apart }, null, 2));
