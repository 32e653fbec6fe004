/** An array of numpy's file format: a header that is a Python literal, and the numbers behind it. */

import { NotAnArchive } from "./zip.js";

export interface Npy {
  readonly dtype: string; // as numpy prints it
  readonly shape: readonly number[];
  readonly fortran: boolean;
  readonly data: Uint8Array;
}

/** Numbers of any shape, row after row. */
export interface Floats {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
const MOST_HEADER = 10_000; // bytes, as for numpy
// A table of Python's, with its three entries in any order: numpy sorts them, other writers need not.
const TABLE = /^[ \n]*\{(.*)\}[ \n]*$/s;
const ENTRY =
  / *(['"])(descr|fortran_order|shape)\1 *: *(?:(['"])([<>|=][a-zA-Z]\d+)\3|(True|False)|\( *((?:(?:0|[1-9]\d*) *, *)+(?:0|[1-9]\d*)?|) *\)) *(?:,|$)/y;
const NAMES: Record<string, string> = {
  f2: "float16", f4: "float32", f8: "float64", i1: "int8", i2: "int16", i4: "int32", i8: "int64",
  u1: "uint8", u2: "uint16", u4: "uint32", u8: "uint64", b1: "bool",
};

/** @param label names the array in sentences. */
export function parseNpy(file: Uint8Array, label: string): Npy {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 12 || MAGIC.some((byte, i) => file[i] !== byte)) {
    throw new NotAnArchive("an array's header cannot be read (the magic string is not correct)");
  }
  const [major = 0, minor = 0] = [file[6], file[7]];
  if ((major !== 1 && major !== 2) || minor !== 0) throw new NotAnArchive(`array format (${major}, ${minor}) is not known`);
  const begin = major === 1 ? 10 : 12;
  const end = begin + (major === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (end > Math.min(file.length, begin + MOST_HEADER)) throw new NotAnArchive("an array's header cannot be read (it is too long)");
  const { descr, fortran, sizes } = header(new TextDecoder("latin1").decode(file.subarray(begin, end)));
  const kind = descr.slice(1);
  if (kind.startsWith("O")) throw new NotAnArchive("arrays of objects are not read");
  const shape = sizes.split(",").map((size) => size.trim()).filter(Boolean).map(Number);
  const dtype = descr.startsWith(">") ? descr : (NAMES[kind] ?? descr);
  const data = file.subarray(end);
  const wanted = shape.reduce((product, n) => product * n, Number(kind.slice(1)));
  if (wanted !== data.length) {
    const shown = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
    if (dtype === "float32" || dtype === "uint8") throw new NotAnArchive(`'${label}' of shape ${shown} has ${data.length} bytes`);
  }
  return { dtype, shape, fortran: fortran === "True", data };
}

/** What a header says: the type, the order (`True` or `False`), and the sizes between commas. */
function header(text: string): { descr: string; fortran: string; sizes: string } {
  const inside = TABLE.exec(text)?.[1]?.trimEnd();
  const said = new Map<string, string | undefined>();
  for (ENTRY.lastIndex = 0; inside !== undefined && ENTRY.lastIndex < inside.length; ) {
    const found = ENTRY.exec(inside);
    if (found === null) break;
    const [, , key = "", , descr, fortran, sizes] = found;
    said.set(key, { descr, fortran_order: fortran, shape: sizes }[key]);
    if (ENTRY.lastIndex === inside.length) {
      const [type, order, shape] = ["descr", "fortran_order", "shape"].map((name) => said.get(name));
      if (type !== undefined && order !== undefined && shape !== undefined) return { descr: type, fortran: order, sizes: shape };
    }
  }
  throw new NotAnArchive("an array's header cannot be read (it is none that numpy writes)");
}

/** The numbers of an array of float32. */
export function floats({ shape, fortran, data }: Npy): Floats {
  const flat = new Float32Array(data.slice().buffer);
  return { shape, data: fortran && shape.length === 2 && flat.length > 0 ? turned(flat, shape) : flat };
}

function turned(flat: Float32Array, [rows = 0, columns = 0]: readonly number[]): Float32Array {
  const found = new Float32Array(flat.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) found[row * columns + column] = flat[column * rows + row] as number;
  }
  return found;
}
