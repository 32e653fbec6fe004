/** How loud a window is. */

/**
 * Of the loudest stretch, in dBFS: 0 is the RMS of a square wave of full scale; minus infinity for silence.
 *
 * @param samples at least one.
 * @param length samples over which the RMS is taken, one stretch behind the other; the last one is aligned to the end.
 */
export function loudness(samples: Float32Array, length: number): number {
  const stretch = Math.min(length, samples.length);
  let power = 0;
  for (let start = 0; start < samples.length; start += stretch) {
    const from = Math.min(start, samples.length - stretch);
    let sum = 0;
    for (let i = from; i < from + stretch; i += 1) sum += (samples[i] as number) ** 2;
    power = Math.max(power, sum);
  }
  return power > 0 ? 10 * Math.log10(power / stretch) : -Infinity;
}
