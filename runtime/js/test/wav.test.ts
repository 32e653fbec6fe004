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
  assert.throws(() => readRecording(file), /'late.wav' has NaN or infinite samples \(1, the first at index 79000\)/);
  const { samples, warning } = readRecording(file, { keepFrom: 5 });
  assert.equal(samples.length, 79_000);
  assert.match(warning ?? "", /it breaks off \('late.wav' has NaN or infinite samples/);
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

/** The same bytes behind a longer `fmt ` chunk, or another mark and a `ds64` chunk. */
function rebuilt(plain: Uint8Array, mark: string, before: Uint8Array, format: Uint8Array): Uint8Array {
  const letters = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
  const size = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
  const large = mark === "RIFF" ? plain.subarray(40, 44) : size(0xffffffff);
  const pieces = [
    letters(mark), size(0xffffffff), letters("WAVE"), before,
    letters("fmt "), size(format.length), format, letters("data"), large, plain.subarray(44),
  ];
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}

function ds64(samples: bigint): Uint8Array {
  const sizes = new Uint8Array(new BigUint64Array([0n, samples, 0n]).buffer);
  return Uint8Array.from([...Uint8Array.from("ds64", (c) => c.charCodeAt(0)), 28, 0, 0, 0, ...sizes, 0, 0, 0, 0]);
}

test("the length of a file beyond 4 GiB stands in a chunk of its own", () => {
  const plain = wav(new Uint8Array(new Int16Array([16384, -16384]).buffer));
  for (const mark of ["RF64", "BW64"]) {
    const read = (length: bigint) => readRecording(rebuilt(plain, mark, ds64(length), plain.subarray(20, 36)));
    assert.deepEqual([...read(4n).samples], [0.5, -0.5]);
    assert.equal(read(4n).warning, null);
    assert.match(read(10n ** 12n).warning ?? "", /states 1000000000000 bytes of samples and 4 are there/);
    assert.equal(read(2n ** 63n).warning, null); // not known when it was written
  }
});

test("a coding with a name that is not Microsoft's is not guessed at", () => {
  const plain = wav(new Uint8Array(new Int16Array([16384, -16384]).buffer));
  const format = (end: number[]) =>
    Uint8Array.from([0xfe, 0xff, ...plain.subarray(22, 36), 22, 0, 16, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, ...end]);
  const read = (end: number[]) => readRecording(rebuilt(plain, "RIFF", new Uint8Array(0), format(end)));
  assert.deepEqual([...read([0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]).samples], [0.5, -0.5]);
  assert.throws(() => read([1, 2, 3, 4, 5, 6, 7, 8]), /unimplemented format/);
});
