/** What was dropped, chosen or recorded, and what the server made of it. */

const MOST_DRAWN = 48 << 20; // bytes of a file that the browser decodes, which takes many times its size
const MOST_WINDOWS = 1200; // of a recording whose length is known: as many as a screen shows

/**
 * @typedef {object} Recording
 * @property {string} name
 * @property {Blob} file
 * @property {{samples: Float32Array, rate: number} | null} sound for the picture, where the browser can decode it
 * @property {{start: number[], end: number[], rows: Float32Array[], warning: string | null} | null} windows
 * @property {Error | null} error
 * @property {string} address of the file for the player
 */

/** @param {Blob} file @param {string} name @returns {Recording} */
export function made(file, name) {
  return { name, file, sound: null, windows: null, error: null, address: URL.createObjectURL(file) };
}

/**
 * Decode it for the picture, and have its windows embedded.
 *
 * @param {Recording} recording
 * @param {import("./server.js").Server} server
 * @param {number} window seconds of the model's window
 * @param {AbortSignal} signal
 */
export async function hear(recording, server, window, signal) {
  recording.error = null;
  recording.sound ??= await decoded(recording.file);
  const seconds = recording.sound && recording.sound.samples.length / recording.sound.rate;
  // Half a second for a short one; of a long one no more windows than there is room to show.
  const hop = seconds === null ? null : Math.min(window, Math.max(0.5, seconds / MOST_WINDOWS));
  try {
    const long = seconds !== null && seconds / window > MOST_WINDOWS;
    recording.windows = await server.recording(recording.file, long ? null : hop, signal);
  } catch (error) {
    recording.error = /** @type {Error} */ (error);
  }
}

/** @param {Blob} file */
async function decoded(file) {
  if (file.size > MOST_DRAWN) return null;
  try {
    const context = new OfflineAudioContext(1, 1, 32_000);
    const sound = await context.decodeAudioData(await file.arrayBuffer());
    const samples = new Float32Array(sound.length);
    for (let channel = 0; channel < sound.numberOfChannels; channel++) {
      sound.getChannelData(channel).forEach((value, i) => (samples[i] += value / sound.numberOfChannels));
    }
    return { samples, rate: sound.sampleRate };
  } catch {
    return null; // the server may know the format all the same
  }
}
