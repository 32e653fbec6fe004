import assert from "node:assert/strict";
import { test } from "node:test";

import { joined, resample, Resampler } from "../src/audio/resampler.js";

const RATES: [number, number][] = [[44_100, 24_000], [8_000, 48_000], [48_000, 16_000], [44_101, 24_000], [16_000, 16_000]];

function noise(n: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: n }, () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function sine(frequency: number, rate: number, n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => Math.sin((2 * Math.PI * frequency * i) / rate));
}

function rms(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, value) => sum + value * value, 0) / samples.length);
}

test("lengths are rounded to the nearest sample, halves up", () => {
  for (const [rate, target] of RATES) {
    for (const n of [2, 3, 7, 160, 1001, 4410]) {
      assert.equal(resample(noise(n), rate, target).length, Math.floor((n * target) / rate + 0.5));
    }
  }
});

test("however it comes in blocks, the result is the same to the bit", () => {
  for (const [rate, target] of RATES) {
    const whole = noise(20_011);
    const resampler = new Resampler(rate, target);
    const parts: Float32Array[] = [];
    for (let at = 0, size = 1; at < whole.length; at += size, size = (size * 7 + 3) % 1999) {
      parts.push(resampler.push(whole.subarray(at, at + size)));
    }
    parts.push(resampler.finish());
    assert.deepEqual(joined(parts), resample(whole, rate, target));
  }
});

test("a tone below the band's end comes through as the same tone", () => {
  for (const [rate, target] of RATES) {
    const frequency = 0.4 * Math.min(rate, target);
    const n = rate;
    const found = resample(sine(frequency, rate, n), rate, target);
    const wanted = sine(frequency, target, found.length);
    const margin = Math.floor(found.length / 10); // away from the ends, where the tone begins and stops
    const error = found.subarray(margin, -margin).map((value, i) => value - (wanted[i + margin] as number));
    assert.ok(rms(error) < 2e-6, `${rate} to ${target}: ${rms(error)}`);
  }
});

test("a tone above the lower Nyquist frequency is gone", () => {
  const found = resample(sine(13_000, 48_000, 48_000), 48_000, 24_000);
  assert.ok(rms(found.subarray(2400, -2400)) < 1e-6);
});

test("what is less than one sample is refused", () => {
  assert.throws(() => resample(noise(1), 44_100, 8_000), { name: "AudioError" });
});
