import assert from "node:assert/strict";
import { test } from "node:test";

import { readRecording } from "../src/audio/recording.js";

/** A WAV file by its specification. */
function wav(body: Uint8Array, { coding = 1, channels = 1, rate = 8000, bits = 16, stated = body.length } = {}): Uint8Array {
  const file = new Uint8Array(44 + body.length);
  const view = new DataView(file.buffer);
  const text = (at: number, name: string) => [...name].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, file.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, coding, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, (rate * channels * bits) / 8, true);
  view.setUint16(32, (channels * bits) / 8, true);
  view.setUint16(34, bits, true);
  text(36, "data");
  view.setUint32(40, stated, true);
  file.set(body, 44);
  return file;
}

test("PCM of 24 bits is scaled by its full scale", () => {
  const body = new Uint8Array([0xff, 0xff, 0x7f, 0x00, 0x00, 0x80, 0x00, 0x00, 0x40]);
  assert.deepEqual([...readRecording(wav(body, { bits: 24 })).samples], [Math.fround(1 - 2 ** -23), -1, 0.5]);
});

// Values of ITU-T G.711, table 1a and 2a.
test("A-law and mu-law", () => {
  const a = readRecording(wav(new Uint8Array([0xd5, 0x55, 0xaa, 0x2a]), { coding: 6, bits: 8 })).samples;
  assert.deepEqual([...a].map((value) => value * 2 ** 15), [8, -8, 32256, -32256]);
  const mu = readRecording(wav(new Uint8Array([0xff, 0x7f, 0x80, 0x00]), { coding: 7, bits: 8 })).samples;
  assert.deepEqual([...mu].map((value) => value * 2 ** 15), [0, -0, 32124, -32124]);
});

test("channels are mixed by their mean", () => {
  const body = new Uint8Array(new Int16Array([16384, 0, -16384, 16384]).buffer);
  assert.deepEqual([...readRecording(wav(body, { channels: 2 })).samples], [0.25, 0]);
});

test("a file that was cut is used, with a warning", () => {
  const { samples, warning } = readRecording({ bytes: wav(new Uint8Array(8), { stated: 4000 }), name: "'cut.wav'" });
  assert.equal(samples.length, 4);
  assert.equal(
    warning,
    "'cut.wav' may not be whole: its header states 4000 bytes of samples and 8 are there. 0.0 s of it are used.",
  );
});

test("what breaks off late is used as far as it went", () => {
  const floats = new Float32Array(80_000).fill(0.1);
  floats[79_000] = NaN;
  const file = { bytes: wav(new Uint8Array(floats.buffer), { coding: 3, bits: 32 }), name: "'late.wav'" };
  assert.throws(() => readRecording(file), /'late.wav' has 1 samples that are NaN or infinite, the first at index 79000/);
  const { samples, warning } = readRecording(file, { keepFrom: 5 });
  assert.equal(samples.length, 79_000);
  assert.match(warning ?? "", /it breaks off \('late.wav' has 1 samples/);
});

test("what is no recording is refused in one sentence", () => {
  const cases: [() => unknown, RegExp][] = [
    [() => readRecording(new Uint8Array()), /is empty \(0 bytes\)\.$/],
    [() => readRecording(new TextEncoder().encode("no sound")), /cannot be decoded \(Format not recognised\)/],
    [() => readRecording({ samples: new Float32Array(0), rate: 8000 }), /holds no audio: 0 samples/],
    [() => readRecording({ samples: new Float32Array([300]), rate: 8000 }), /has a peak of 300/],
    [() => readRecording({ samples: new Float32Array(9), rate: 8 }), /has a sample rate of 8 Hz/],
    [() => readRecording({ samples: [new Float32Array(9), new Float32Array(8)], rate: 8000 }), /of one length/],
    [() => readRecording({ samples: new Float32Array(9000), rate: 8000 }, { maxSeconds: 1 }), /more than the 1 s allowed/],
  ];
  for (const [work, message] of cases) assert.throws(work, { name: /AudioError|TooLong/, message });
});
