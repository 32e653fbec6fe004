/** What is heard now, from right to left; low sounds are below. */

const LOWEST = 60; // Hz
const QUIETEST = -95; // dBFS
const LOUDEST = -25;
const COLUMN = 2; // pixels a frame

export class Spectrogram {
  private analyser: AnalyserNode | null = null;
  private levels = new Uint8Array();
  private readonly canvas: HTMLCanvasElement;
  private readonly context: CanvasRenderingContext2D;

  constructor(canvas: HTMLCanvasElement) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: true }) as CanvasRenderingContext2D;
    new ResizeObserver(() => this.fit()).observe(canvas);
    this.fit();
  }

  /** Show what comes from a node; nothing stops it. */
  show(source: AudioNode | null): void {
    this.analyser?.disconnect();
    this.analyser = null;
    if (source === null) return;
    const analyser = source.context.createAnalyser();
    Object.assign(analyser, { fftSize: 2048, smoothingTimeConstant: 0, minDecibels: QUIETEST, maxDecibels: LOUDEST });
    source.connect(analyser);
    this.analyser = analyser;
    this.levels = new Uint8Array(analyser.frequencyBinCount);
    requestAnimationFrame(() => this.draw(analyser));
  }

  private draw(analyser: AnalyserNode): void {
    if (analyser !== this.analyser) return;
    const { canvas, context, levels } = this;
    const { width, height } = canvas;
    analyser.getByteFrequencyData(levels);
    context.globalCompositeOperation = "copy";
    context.drawImage(canvas, -COLUMN, 0);
    context.globalCompositeOperation = "source-over";
    context.fillStyle = getComputedStyle(canvas).getPropertyValue("color");
    const nyquist = analyser.context.sampleRate / 2;
    const octaves = Math.log(nyquist / LOWEST);
    for (let y = 0; y < height; y += COLUMN) {
      const from = LOWEST * Math.exp(octaves * (1 - (y + COLUMN) / height));
      const to = LOWEST * Math.exp(octaves * (1 - y / height));
      context.globalAlpha = this.strongest(from / nyquist, to / nyquist) / 255;
      context.fillRect(width - COLUMN, y, COLUMN, COLUMN);
    }
    context.globalAlpha = 1;
    requestAnimationFrame(() => this.draw(analyser));
  }

  private strongest(from: number, to: number): number {
    const count = this.levels.length;
    const first = Math.min(count - 1, Math.floor(from * count));
    const last = Math.max(first + 1, Math.ceil(to * count));
    return Math.max(...this.levels.subarray(first, last));
  }

  private fit(): void {
    const { canvas } = this;
    const scale = Math.min(devicePixelRatio, 2);
    const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  }
}
