/** A picture of a sound: time to the right, pitch upwards, louder is stronger. */

const SIZE = 1024; // samples of a frame
const LOWEST = 60; // Hz
const QUIETEST = -90; // dB below a full-scale sine
const LOUDEST = -20;
const WINDOW = Float64Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE)); // Hann

/**
 * @param {HTMLCanvasElement} canvas
 * @param {{samples: Float32Array, rate: number} | null} sound without one, nothing is drawn
 */
export function draw(canvas, sound) {
  const scale = Math.min(devicePixelRatio, 2);
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null || sound === null) return;
  const { width, height } = canvas;
  const bins = edges(height, sound.rate / 2);
  const [red, green, blue] = inks(context, getComputedStyle(canvas).color);
  const picture = context.createImageData(width, height);
  for (let x = 0; x < width; x++) {
    const middle = Math.round(((x + 0.5) / width) * sound.samples.length);
    const levels = spectrum(sound.samples, middle - SIZE / 2);
    for (let y = 0; y < height; y++) {
      let most = levels[bins[y + 1]];
      for (let bin = bins[y + 1] + 1; bin < bins[y]; bin++) most = Math.max(most, levels[bin]);
      const level = (10 * Math.log10(most + 1e-12) - QUIETEST) / (LOUDEST - QUIETEST);
      picture.data.set([red, green, blue, 255 * Math.min(1, Math.max(0, level))], 4 * (y * width + x));
    }
  }
  context.putImageData(picture, 0, 0);
}

/** A colour of any form in numbers. @param {CanvasRenderingContext2D} context @param {string} colour */
function inks(context, colour) {
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

/** The bins at which lines of the picture begin, from above, in octaves. @param {number} height @param {number} nyquist */
function edges(height, nyquist) {
  const octaves = Math.log(nyquist / LOWEST);
  const bin = (/** @type {number} */ y) => (LOWEST * Math.exp(octaves * (1 - y / height)) * SIZE) / (2 * nyquist);
  return Array.from({ length: height + 1 }, (_, y) => Math.min(SIZE / 2 - 1, Math.floor(bin(y))));
}

/**
 * Squared magnitudes, of which a full-scale sine's is 1, by the FFT of Cooley and Tukey.
 *
 * @param {Float32Array} samples @param {number} from
 */
function spectrum(samples, from) {
  const re = new Float64Array(SIZE);
  const im = new Float64Array(SIZE);
  for (let i = 0, j = 0; i < SIZE; i++) {
    re[j] = (samples[from + i] ?? 0) * WINDOW[i];
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let half = 1; half < SIZE; half *= 2) {
    for (let k = 0; k < half; k++) {
      const [c, s] = [Math.cos((Math.PI * k) / half), -Math.sin((Math.PI * k) / half)];
      for (let i = k; i < SIZE; i += 2 * half) {
        const j = i + half;
        const [x, y] = [c * re[j] - s * im[j], c * im[j] + s * re[j]];
        re[j] = re[i] - x;
        im[j] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
  return Float64Array.from({ length: SIZE / 2 }, (_, i) => (re[i] ** 2 + im[i] ** 2) * (4 / SIZE) ** 2);
}
