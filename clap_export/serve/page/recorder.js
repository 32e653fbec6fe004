/** The microphone, as a WAV file: every server reads that, and nothing is lost to a codec. */

export const MOST = 600; // seconds; they are held in memory

export class Recorder {
  /** @type {Float32Array[]} */
  #blocks = [];

  /** @param {AudioContext} context @param {MediaStream} stream @param {AudioWorkletNode} node */
  constructor(context, stream, node) {
    this.context = context;
    this.stream = stream;
    node.port.onmessage = ({ data }) => {
      if (this.seconds < MOST) this.#blocks.push(data);
    };
  }

  /** Ask for the microphone and begin. */
  static async begin() {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const context = new AudioContext();
    await context.audioWorklet.addModule("page/worklet.js");
    const node = new AudioWorkletNode(context, "blocks", { numberOfOutputs: 0 });
    context.createMediaStreamSource(stream).connect(node);
    return new Recorder(context, stream, node);
  }

  get seconds() {
    return this.#blocks.reduce((sum, block) => sum + block.length, 0) / this.context.sampleRate;
  }

  /** End, and give what was heard: mono, 16 bits. */
  async end() {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context.close();
    return wav(this.#blocks, this.context.sampleRate);
  }
}

/** @param {Float32Array[]} blocks @param {number} rate */
function wav(blocks, rate) {
  const count = blocks.reduce((sum, block) => sum + block.length, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (/** @type {number} */ at, /** @type {string} */ letters) =>
    [...letters].forEach((letter, i) => header.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + 2 * count, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, 2 * count, true);
  const samples = blocks.map((block) => Int16Array.from(block, (value) => Math.max(-32768, Math.min(32767, Math.round(32768 * value)))));
  return new Blob([header, ...samples], { type: "audio/wav" });
}
