/** UTF-8 to text, with Python's words for what is none. */

const MARK = "\ufeff"; // some writers put it first

/**
 * @throws Error with a clause that says where it is no UTF-8.
 */
export function decode(data: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    return text.startsWith(MARK) ? text.slice(1) : text;
  } catch {
    throw new Error(problem(data));
  }
}

function problem(data: Uint8Array): string {
  let at = 0;
  while (at < data.length) {
    const first = data[at] ?? 0;
    const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length === 0) return said(data, at, at, "invalid start byte");
    for (let next = at + 1; next < at + length; next += 1) {
      if (next >= data.length) return said(data, at, data.length - 1, "unexpected end of data");
      if (!continues(first, next - at, data[next] ?? 0)) return said(data, at, next - 1, "invalid continuation byte");
    }
    at += length;
  }
  return "it is no UTF-8";
}

/** Whether a byte may be there: not in an overlong form, half of a pair, or beyond the last character. */
function continues(first: number, place: number, byte: number): boolean {
  if (place > 1) return byte >> 6 === 2;
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  return byte >= low && byte <= high;
}

function said(data: Uint8Array, from: number, to: number, why: string): string {
  if (from === to) {
    const byte = (data[from] ?? 0).toString(16).padStart(2, "0");
    return `'utf-8' codec can't decode byte 0x${byte} in position ${from}: ${why}`;
  }
  return `'utf-8' codec can't decode bytes in position ${from}-${to}: ${why}`;
}
