import assert from "node:assert/strict";
import { test } from "node:test";

import { Backlog } from "../src/browser/backlog.js";
import type { Segment } from "../src/classifier.js";
import { Events } from "../src/listening/events.js";
import { loudness } from "../src/listening/loudness.js";
import { Rule } from "../src/listening/rule.js";

/** Windows of two seconds, one a second. */
function segments(scores: number[]): Segment[] {
  return scores.map((score, i) => ({ start: i, end: i + 2, predictions: [{ label: "dog", score, similarity: 0 }] }));
}

function ended(scores: number[], events: Events): [number, number, number][] {
  const found = [...segments(scores).flatMap((segment) => events.push(segment)), ...events.finish()];
  return found.filter(({ phase }) => phase === "ended").map(({ start, end, peak }) => [start, end, peak]);
}

test("a window speaks for what is nearer to its centre", () => {
  assert.deepEqual(ended([0, 0.9, 0.8, 0, 0], new Events()), [[1.5, 3.5, 0.9]]);
  assert.deepEqual(ended([0.9, 0, 0.7], new Events()), [[0, 1.5, 0.9], [2.5, 4, 0.7]]);
});

test("stretches that are near are one, and short ones none", () => {
  assert.deepEqual(ended([0.9, 0, 0.7], new Events({ rule: new Rule({ gap: 1.5 }) })), [[0, 4, 0.9]]);
  assert.deepEqual(ended([0, 0.9, 0, 0.9, 0.9], new Events({ rule: new Rule({ minimum: 2 }) })), [[3.5, 6, 0.9]]);
});

test("a label is on until its score is below the lower bound", () => {
  assert.deepEqual(ended([0, 0.9, 0.4, 0.2, 0], new Events({ rule: new Rule({ on: 0.5, off: 0.3 }) })), [[1.5, 3.5, 0.9]]);
});

test("the median of three takes a lone window away", () => {
  assert.deepEqual(ended([0, 0.9, 0, 0, 0.6, 0.7, 0.8], new Events({ smooth: 3 })), [[4.5, 8, 0.75]]);
});

test("behind a hole everything begins anew", () => {
  const events = new Events({ rule: new Rule({ gap: 3 }) });
  const [first, second] = segments([0.9, 0.9]) as [Segment, Segment];
  const later = { ...second, start: 20, end: 22 };
  const found = [first, later].flatMap((segment) => events.push(segment)).concat(events.finish());
  assert.deepEqual(found.filter((e) => e.phase === "ended").map((e) => [e.start, e.end]), [[0, 2], [20, 22]]);
});

test("what is out of range is refused", () => {
  assert.throws(() => new Rule({ on: 0.2, off: 0.4 }), { message: /on=0\.2, off=0\.4: pass scores above 0/ });
  assert.throws(() => new Events({ smooth: 2 }), { message: "smooth=2: pass an odd number of windows." });
  const events = new Events();
  events.push(segments([0.1, 0.1])[1] as Segment);
  assert.throws(() => events.push(segments([0.1])[0] as Segment), { message: /came behind one at 1\.000 s/ });
});

test("loudness is that of the loudest stretch", () => {
  const samples = new Float32Array(100);
  assert.equal(loudness(samples, 10), -Infinity);
  samples.fill(0.1, 20, 30);
  assert.ok(Math.abs(loudness(samples, 10) + 20) < 1e-5);
  samples.fill(1, 97);
  assert.ok(Math.abs(loudness(samples, 10) - 10 * Math.log10(0.3)) < 1e-5);
});

test("what waits too long is dropped, and counted", () => {
  const backlog = new Backlog(10);
  for (let i = 0; i < 5; i += 1) backlog.push(new Float32Array(4).fill(i));
  assert.deepEqual(backlog.take(), { samples: Float32Array.from([3, 3, 3, 3, 4, 4, 4, 4]), missing: 12 });
  assert.equal(backlog.take(), null);
});
