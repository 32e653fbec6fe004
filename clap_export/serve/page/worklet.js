/** Runs beside the page, in the audio's own thread: gathers samples to blocks and hands them on. */

const BLOCK = 4096;

class Blocks extends AudioWorkletProcessor {
  block = new Float32Array(BLOCK);
  filled = 0;

  /** @param {Float32Array[][]} inputs */
  process([channels]) {
    const count = channels.length;
    for (let i = 0; count > 0 && i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / count;
      if (this.filled === BLOCK) {
        this.port.postMessage(this.block);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("blocks", Blocks);
