/** On the audio thread: the mean of a microphone's channels goes to a port, some milliseconds at a time. */

const BLOCK = 2048; // samples: 43 ms at 48 kHz

declare const AudioWorkletProcessor: new () => { readonly port: MessagePort };
declare function registerProcessor(name: string, processor: new () => object): void;

class Microphone extends AudioWorkletProcessor {
  private out: MessagePort | null = null;
  private block = new Float32Array(BLOCK);
  private count = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<MessagePort>) => {
      this.out = data;
    };
  }

  process([channels]: Float32Array[][]): boolean {
    const first = channels?.[0];
    if (!channels || !first) return true;
    for (let i = 0; i < first.length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i] as number;
      this.block[this.count] = sum / channels.length;
      this.count += 1;
      if (this.count === BLOCK) this.send();
    }
    return true;
  }

  private send(): void {
    this.count = 0;
    if (this.out === null) return;
    this.out.postMessage(this.block, [this.block.buffer]);
    this.block = new Float32Array(BLOCK);
  }
}

registerProcessor("clap-microphone", Microphone);
