/** The file of a label bank: an `.npz` of two arrays; of a head, of four. */

import { LabelError, SchemaError } from "../errors.js";
import { ABOUT, type About } from "../head.js";
import { readJson } from "../text/json.js";
import { printable } from "../text/plain-text.js";
import { tuple } from "../text/pythonic.js";
import { choice, list, read, record, text, words } from "../text/schema.js";
import { MOST_LETTERS } from "./manifest.js";
import { type Floats, floats, type Npy, parseNpy } from "./npy.js";
import { entries, type Entry, unpacked } from "./zip.js";

const OF_HEADS = ["scales", "biases"];
const ARRAYS = ["embeddings", "meta"];
const KNOWN = [...ARRAYS, ...OF_HEADS];
const COMMON = { format_version: choice(1), space_id: text(255), names: list(words) };
const META = record({ format: choice("clap-export-labels"), ...COMMON, templates: list(text(MOST_LETTERS)) });
const HEAD_META = record({ format: choice("clap-export-head"), ...COMMON, head: ABOUT });

/** What a bank says beside its numbers. */
export interface Meta {
  readonly space_id: string;
  readonly names: readonly string[];
  readonly templates: readonly string[];
  /** Of a head; else null. */
  readonly head: About | null;
}

/** What could be read of a bank, and everything that is wrong with it. */
export interface BankFile {
  readonly meta: Meta | null;
  readonly embeddings: Floats | null;
  /** Of a head. */
  readonly scales: Floats | null;
  readonly biases: Floats | null;
  readonly problems: string[];
}

/** @throws NotAnArchive nothing can be read. */
export async function readBank(data: Uint8Array): Promise<BankFile> {
  const all = entries(data);
  const names = all.map(({ name }) => name.replace(/\.npy$/, ""));
  const isHead = OF_HEADS.some((name) => names.includes(name));
  const unknown = [...new Set(names)].filter((name) => !KNOWN.includes(name)).sort();
  const problems = [
    ...unknown.map((name) => `unknown array '${printable(name.slice(0, 80))}'`),
    ...(isHead ? KNOWN : ARRAYS).filter((name) => !names.includes(name)).map((name) => `missing array '${name}'`),
    ...KNOWN.filter((name) => names.filter((n) => n === name).length > 1).map((name) => `two arrays '${name}'`),
  ].slice(0, 20);
  const array = async (name: string, dtype: string, what: string): Promise<Npy | null> => {
    const entry: Entry | undefined = all[names.lastIndexOf(name)];
    if (entry === undefined) return null;
    const found = parseNpy(await unpacked(data, entry, name), name);
    if (found.dtype === dtype) return found;
    problems.push(`${name} are ${found.dtype}, ${what}`);
    return null;
  };
  const numbers = async (name: string): Promise<Floats | null> => {
    const found = await array(name, "float32", "not float32");
    return found && floats(found);
  };
  const embeddings = await numbers("embeddings");
  const meta = await array("meta", "uint8", "not the bytes of a text");
  const [scales, biases] = [await numbers("scales"), await numbers("biases")];
  return { meta: meta && parseMeta(meta, isHead, problems), embeddings, scales, biases, problems };
}

function parseMeta(array: Npy, isHead: boolean, problems: string[]): Meta | null {
  if (array.shape.length !== 1) {
    problems.push(`meta is ${array.dtype} ${tuple(array.shape)}, not the bytes of a text`);
    return null;
  }
  try {
    const document = readJson(array.data, "meta", LabelError);
    return isHead
      ? { ...read(HEAD_META, document, "meta"), templates: [] }
      : { ...read(META, document, "meta"), head: null };
  } catch (error) {
    if (error instanceof SchemaError) problems.push(error.message);
    else if (error instanceof LabelError) problems.push(`meta is not JSON (${/\((.*)\)\.$/s.exec(error.message)?.[1]})`);
    else throw error;
    return null;
  }
}
