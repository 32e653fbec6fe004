/** A recording as the windows that a policy takes of it. */

import { AudioError } from "../errors.js";
import type { AudioSpec } from "../format/audio-spec.js";
import { type Cut, Cutter } from "./cutter.js";
import { needsTotal, type Policy, starts } from "./policy.js";

const BLOCK = 1 << 18;

/** All windows of mono samples at the model's rate, in order. */
export function* windowsOf(samples: Float32Array, spec: AudioSpec, policy: Policy): Generator<Cut> {
  if (samples.length === 0) throw new AudioError("the recording holds no audio: 0 samples. It may be truncated.");
  const total = needsTotal(policy) ? samples.length : undefined;
  const cutter = new Cutter(spec, starts(policy, spec, total), policy.tail);
  for (let at = 0; at < samples.length && !cutter.done; at += BLOCK) yield* cutter.push(samples.subarray(at, at + BLOCK));
  yield* cutter.finish();
}

/** Things in lists of at most `size`. */
export function* batched<T>(things: Iterable<T>, size: number): Generator<T[]> {
  let batch: T[] = [];
  for (const thing of things) {
    batch.push(thing);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}
