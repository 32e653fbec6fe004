/** The file of a label bank: an `.npz` of two arrays. */

import { LabelError, SchemaError } from "../errors.js";
import { readJson } from "../text/json.js";
import { printable } from "../text/plain-text.js";
import { tuple } from "../text/pythonic.js";
import { choice, list, type Of, read, record, text, words } from "../text/schema.js";
import { MOST_LETTERS } from "./manifest.js";
import { floats, type Npy, parseNpy } from "./npy.js";
import { entries, type Entry, unpacked } from "./zip.js";

const ARRAYS = ["embeddings", "meta"];
const META = record({
  format: choice("clap-export-labels"),
  format_version: choice(1),
  space_id: text(255),
  names: list(words),
  templates: list(text(MOST_LETTERS)),
});

export type Meta = Of<typeof META>;

export interface Rows {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What could be read of a bank, and everything that is wrong with it. */
export interface BankFile {
  readonly meta: Meta | null;
  readonly embeddings: Rows | null;
  readonly problems: string[];
}

/** @throws NotAnArchive nothing can be read. */
export async function readBank(data: Uint8Array): Promise<BankFile> {
  const all = entries(data);
  const names = all.map(({ name }) => name.replace(/\.npy$/, ""));
  const unknown = [...new Set(names)].filter((name) => !ARRAYS.includes(name)).sort();
  const problems = [
    ...unknown.map((name) => `unknown array '${printable(name.slice(0, 80))}'`),
    ...ARRAYS.filter((name) => !names.includes(name)).map((name) => `missing array '${name}'`),
    ...ARRAYS.filter((name) => names.filter((n) => n === name).length > 1).map((name) => `two arrays '${name}'`),
  ].slice(0, 20);
  const array = async (name: string, dtype: string, what: string): Promise<Npy | null> => {
    const entry: Entry | undefined = all[names.lastIndexOf(name)];
    if (entry === undefined) return null;
    const found = parseNpy(await unpacked(data, entry, name), name);
    if (found.dtype === dtype) return found;
    problems.push(`${name} are ${found.dtype}, ${what}`);
    return null;
  };
  const rows = await array("embeddings", "float32", "not float32");
  const meta = await array("meta", "uint8", "not the bytes of a text");
  return {
    embeddings: rows && { shape: rows.shape, data: floats(rows) },
    meta: meta && parseMeta(meta, problems),
    problems,
  };
}

function parseMeta(array: Npy, problems: string[]): Meta | null {
  if (array.shape.length !== 1) {
    problems.push(`meta is ${array.dtype} ${tuple(array.shape)}, not the bytes of a text`);
    return null;
  }
  try {
    return read(META, readJson(array.data, "meta", LabelError), "meta");
  } catch (error) {
    if (error instanceof SchemaError) problems.push(error.message);
    else if (error instanceof LabelError) problems.push(`meta is not JSON (${/\((.*)\)\.$/s.exec(error.message)?.[1]})`);
    else throw error;
    return null;
  }
}
