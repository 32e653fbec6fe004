/** The sample rate that a compressed file's header states, so that nobody else changes it. */

const MPEG_RATES = [44_100, 48_000, 32_000];
const PARTS = [4, NaN, 2, 1]; // of these rates, by the version of MPEG: 2.5, none, 2, 1

/** In Hz; null where the header is not one of FLAC, Ogg (Vorbis, Opus) or MPEG audio. */
export function rateOf(data: Uint8Array): number | null {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const mark = (at: number, length: number) => String.fromCharCode(...data.subarray(at, at + length));
  if (mark(0, 4) === "fLaC" && data.length >= 22) return inRange(view.getUint32(18) >>> 12);
  if (mark(0, 4) === "OggS") {
    if (mark(28, 8) === "OpusHead") return 48_000; // whatever it was made of
    return mark(29, 6) === "vorbis" && data.length >= 44 ? inRange(view.getUint32(40, true)) : null;
  }
  let at = 0;
  if (mark(0, 3) === "ID3" && data.length > 10) {
    at = 10 + [6, 7, 8, 9].reduce((sum, place) => sum * 128 + ((data[place] ?? 0) & 127), 0);
  }
  const [first = 0, second = 0, third = 0] = data.subarray(at, at + 3);
  const layer = (second >> 1) & 3;
  if (first !== 0xff || (second & 0xe0) !== 0xe0 || layer === 0) return null;
  const rate = (MPEG_RATES[(third >> 2) & 3] ?? NaN) / (PARTS[(second >> 3) & 3] ?? NaN);
  return Number.isNaN(rate) ? null : rate;
}

/** Rates of which browsers make contexts. */
function inRange(rate: number): number | null {
  return rate >= 8_000 && rate <= 96_000 ? rate : null;
}
