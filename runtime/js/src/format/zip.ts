/** The entries of a zip archive, each read whole; what `.npz` files are. */

/** Why a file is no archive that is read. */
export class NotAnArchive extends Error {}

export interface Entry {
  readonly name: string;
  readonly deflated: boolean;
  readonly packed: number; // bytes in the file
  readonly size: number; // bytes unpacked
  readonly crc: number;
  readonly offset: number; // of its local header
}

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const ENCRYPTED = 1;
const MOST_ENTRIES = 1000;
// Other writers may deflate. Embeddings become a tenth smaller by it and a text five times: more is made to fill
// memory.
const MOST_SHRUNK = 20;
const ALWAYS = 1 << 16;

export function entries(data: Uint8Array): Entry[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const end = endOf(view);
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  if (count > MOST_ENTRIES) throw new NotAnArchive("it has too many entries");
  const found: Entry[] = [];
  for (let i = 0; i < count; i += 1) {
    if (at + 46 > end || view.getUint32(at, true) !== CENTRAL) throw new NotAnArchive("Bad magic number for central directory");
    const method = view.getUint16(at + 10, true);
    if (method !== 0 && method !== 8) throw new NotAnArchive("it is compressed in a way that is not read");
    const lengths = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const [name = 0, extra = 0, comment = 0] = lengths;
    found.push({
      name: new TextDecoder().decode(data.subarray(at + 46, at + 46 + name)),
      deflated: method === 8,
      crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    });
    at += 46 + name + extra + comment;
  }
  return found;
}

/** An entry's bytes; `label` names it in sentences. */
export async function unpacked(data: Uint8Array, entry: Entry, label: string): Promise<Uint8Array> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const at = entry.offset;
  if (at > data.length - 30) throw new NotAnArchive("an array lies outside of it");
  if (view.getUint32(at, true) !== LOCAL || view.getUint16(at + 6, true) & ENCRYPTED) {
    throw new NotAnArchive("an array in it is encrypted, or is none");
  }
  const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  if (start + entry.packed > data.length) throw new NotAnArchive("an array is cut off");
  if (!entry.deflated && entry.packed !== entry.size) throw new NotAnArchive(`'${label}' has two sizes`);
  const packed = data.subarray(start, start + entry.packed);
  const found = entry.deflated ? await inflated(packed, entry) : packed;
  if (found.length !== entry.size || crc32(found) !== entry.crc) {
    throw new NotAnArchive(`'${label}' has another checksum (CRC) than it was written with`);
  }
  return found;
}

async function inflated(packed: Uint8Array, entry: Entry): Promise<Uint8Array> {
  if (entry.size > MOST_SHRUNK * entry.packed + ALWAYS) {
    throw new NotAnArchive("it is compressed beyond what embeddings can be");
  }
  const found = new Uint8Array(entry.size);
  let at = 0;
  try {
    const stream = new Blob([packed as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > entry.size) throw new Error("it is longer than it says");
      found.set(value, at);
      at += value.length;
    }
  } catch (error) {
    throw new NotAnArchive(error instanceof Error ? error.message : String(error));
  }
  return found.subarray(0, at);
}

/** Where the archive's last record begins, which may have a comment behind it. */
function endOf(view: DataView): number {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 22 - 0xffff); at -= 1) {
    if (view.getUint32(at, true) === END && view.getUint16(at + 20, true) === view.byteLength - at - 22) return at;
  }
  throw new NotAnArchive("File is not a zip file");
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (let i = 0; i < data.length; i += 1) {
    value = (TABLE[(value ^ (data[i] as number)) & 0xff] as number) ^ (value >>> 8);
  }
  return (value ^ 0xffffffff) >>> 0;
}
