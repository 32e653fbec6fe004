/** What measure.mjs takes the time of, in a page. */

import { readRecording } from "../../runtime/js/src/audio/recording.js";
import { RemoteClassifier } from "../../runtime/js/src/web.js";

async function measure(labels: string[], runs: number, seconds: number) {
  const begin = performance.now();
  const bytes = await (await fetch("sound.wav")).arrayBuffer();
  const classifier = new RemoteClassifier(new Worker(new URL("worker.js", import.meta.url), { type: "module" }));
  const here = new URL("./", import.meta.url).href;
  await classifier.open({ url: `${here}bundle/` }, { wasmPath: here, threads: 1 });
  const opened_ms = performance.now() - begin;
  await classifier.label(labels);
  const labelled_ms = performance.now() - begin;
  await classifier.predict(bytes);
  const first_ms = performance.now() - begin;
  const { samples, rate } = readRecording(bytes);
  const long = { samples: Float32Array.from({ length: seconds * rate }, (_, i) => samples[i % samples.length] as number), rate };
  const clips: number[] = [];
  const recordings: number[] = [];
  for (let i = 0; i < runs; i += 1) clips.push(await timed(() => classifier.predict(bytes)));
  for (let i = 0; i < 3; i += 1) recordings.push(await timed(() => classifier.predict(long)));
  await classifier.close();
  return { opened_ms, labelled_ms, first_ms, clips, recordings };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

Object.assign(globalThis, { measure });
