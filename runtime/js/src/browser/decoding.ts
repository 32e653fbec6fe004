/** Audio files of any format that the browser knows, on its own threads. */

import { rateOf } from "../audio/headers.js";
import type { AudioFile, Pcm } from "../audio/recording.js";
import { AudioError } from "../errors.js";
import { quoted } from "../text/pythonic.js";

const USUAL = 48_000; // Hz

/**
 * A file as what a classifier takes. WAV is left to the worker, which reads it as every other reader does; the rest
 * is decoded by the browser, at the rate that the file's header states.
 *
 * @throws AudioError the browser cannot decode it.
 */
export async function decodeFile(file: Blob & { name?: string }): Promise<AudioFile | Pcm> {
  const bytes = await file.arrayBuffer();
  const name = quoted(file.name ?? "the recording");
  const mark = String.fromCharCode(...new Uint8Array(bytes, 0, Math.min(4, bytes.byteLength)));
  if (["RIFF", "RIFX", "RF64"].includes(mark) || bytes.byteLength === 0) return { bytes, name };
  const rate = rateOf(new Uint8Array(bytes)) ?? USUAL;
  try {
    // The browser brings what it decodes to the rate of the context.
    const found = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
    const samples = Array.from({ length: found.numberOfChannels }, (_, i) => found.getChannelData(i));
    return { samples, rate: found.sampleRate };
  } catch {
    throw new AudioError(
      `${name} cannot be decoded by this browser: it is corrupt, truncated or of an unsupported format. Check the file, ` +
        "or convert it to WAV or FLAC.",
    );
  }
}
