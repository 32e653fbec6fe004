/**
 * Strict reading of documents: unknown and missing keys, wrong types and numbers out of bounds are
 * all collected, and reported in one error.
 */

import { SchemaError } from "../errors.js";
import { hasControl, listed } from "./plain-text.js";
import { characters, Float, general, type Json, quoted, shownValue, typeName } from "./pythonic.js";

const MOST_PROBLEMS = 50; // listed in one message
const LARGEST = 2n ** 64n;

/** What a value must be. */
export interface Kind<T> {
  /** The value, or anything if a problem was found. */
  read(data: Json, path: string, problems: string[]): T;
  /** What stands for a key that is not there; without it the key is required. */
  readonly absent?: () => T;
}

export type Of<K> = K extends Kind<infer T> ? T : never;

/**
 * @param where the document's name, put first in the error.
 * @throws SchemaError listing every problem with its dotted path.
 */
export function read<T>(kind: Kind<T>, data: Json, where: string): T {
  const problems: string[] = [];
  const value = kind.read(data, "", problems);
  if (problems.length > 0) throw new SchemaError(`${where}: ${listed(problems, MOST_PROBLEMS)}`);
  return value;
}

export const anything: Kind<Json> = { read: (data) => data };

export const flag: Kind<boolean> = {
  read(data, path, problems) {
    if (typeof data !== "boolean") problems.push(wrong(path, "bool", data));
    return data === true;
  },
};

/** A whole number, both bounds included. */
export function whole(low = -Infinity, high = Infinity): Kind<number> {
  return {
    read(data, path, problems) {
      if (typeof data !== "number" && typeof data !== "bigint") problems.push(wrong(path, "int", data));
      else if (Number(data) < low || Number(data) > high) problems.push(beyond(path, low, high, data));
      return Number(data);
    },
  };
}

/** A number, both bounds included. */
export function number(low: number, high: number, nan = false): Kind<number> {
  return {
    read(data, path, problems) {
      if (!(data instanceof Float) && typeof data !== "number" && typeof data !== "bigint") {
        problems.push(wrong(path, "float", data));
        return NaN;
      }
      if (typeof data === "bigint" && (data >= LARGEST || -data >= LARGEST)) {
        problems.push(`'${path}' is too large a number: ${shownValue(data)}`);
        return NaN;
      }
      const value = data instanceof Float ? data.value : Number(data);
      if (!(value >= low && value <= high) && !(nan && Number.isNaN(value))) {
        problems.push(beyond(path, low, high, new Float(value)));
      }
      return value;
    },
  };
}

/** A text of at most so many characters, with nothing that a terminal would obey. */
export function text(most: number): Kind<string> {
  return {
    read(data, path, problems) {
      if (typeof data !== "string") {
        problems.push(wrong(path, "str", data));
        return "";
      }
      const problem = textProblem(data, most);
      if (problem !== null) problems.push(`'${path}' ${problem}`);
      return data;
    },
  };
}

export function textProblem(value: string, most: number): string | null {
  const length = characters(value);
  if (length > most) return `has ${length} characters, at most ${most} are read`;
  return hasControl(value) ? `holds control characters: ${shownValue(value)}` : null;
}

/** Any text. */
export const words: Kind<string> = {
  read(data, path, problems) {
    if (typeof data !== "string") problems.push(wrong(path, "str", data));
    return String(data);
  },
};

export function choice<const T extends string | number>(...choices: T[]): Kind<T> {
  return {
    read(data, path, problems) {
      if (!choices.includes(data as T)) {
        const all = choices.map((c) => (typeof c === "string" ? quoted(c) : String(c))).join(", ");
        problems.push(`'${path}' is ${shownValue(data)}, must be one of ${all}`);
      }
      return data as T;
    },
  };
}

export function list<T>(inner: Kind<T>): Kind<readonly T[]> {
  return {
    read(data, path, problems) {
      if (Array.isArray(data)) return data.map((item, i) => inner.read(item, `${path}[${i}]`, problems));
      problems.push(`'${path}' must be a list, is ${typeName(data)}`);
      return [];
    },
  };
}

/** A table with any keys. */
export function table<T>(key: Kind<string>, inner: Kind<T>): Kind<ReadonlyMap<string, T>> {
  return {
    read(data, path, problems) {
      if (!(data instanceof Map)) {
        problems.push(`'${path}' must be a table, is ${typeName(data)}`);
        return new Map();
      }
      for (const name of data.keys()) key.read(name, `${path}, the key ${shownValue(name)}`, problems);
      return new Map(Array.from(data, ([k, v]) => [k, inner.read(v, `${path}.${keyName(k)}`, problems)]));
    },
  };
}

export function maybe<T>(inner: Kind<T>): Kind<T | null> {
  return { read: (data, path, problems) => (data === null ? null : inner.read(data, path, problems)) };
}

/** What a key means that is not there. */
export function optional<T>(inner: Kind<T>, absent: () => T): Kind<T> {
  return { read: (data, path, problems) => inner.read(data, path, problems), absent };
}

type Fields = Record<string, Kind<unknown>>;
export type RecordOf<F extends Fields> = { readonly [K in keyof F]: Of<F[K]> };

/**
 * A table with these keys.
 *
 * @param check what the fields say together: a clause for what is wrong, or null.
 */
export function record<F extends Fields>(
  fields: F,
  check: (value: RecordOf<F>) => string | null = () => null,
): Kind<RecordOf<F>> {
  return {
    read(data, path, problems) {
      const values: Record<string, unknown> = {};
      if (!(data instanceof Map)) {
        problems.push(`'${path || "(top)"}' must be a table, is ${typeName(data)}`);
        return values as RecordOf<F>;
      }
      const dot = path ? `${path}.` : "";
      for (const name of Array.from(data.keys()).sort(byCharacter)) {
        if (!Object.hasOwn(fields, name)) problems.push(`unknown key '${dot}${keyName(name)}'`);
      }
      const before = problems.length;
      for (const [name, kind] of Object.entries(fields)) {
        const value = data.get(name);
        if (value !== undefined) values[name] = kind.read(value, dot + name, problems);
        else if (kind.absent) values[name] = kind.absent();
        else problems.push(`missing key '${dot}${name}'`);
      }
      if (problems.length === before) {
        const problem = check(values as RecordOf<F>);
        if (problem !== null) problems.push(path ? `'${path}': ${problem}` : problem);
      }
      return values as RecordOf<F>;
    },
  };
}

function wrong(path: string, wanted: string, data: Json): string {
  return `'${path}' must be ${wanted}, is ${typeName(data)}`;
}

function beyond(path: string, low: number, high: number, data: Json): string {
  return `'${path}' must be from ${general(low)} to ${general(high)}, is ${shownValue(data)}`;
}

/** A key for a message, in which its path may be long. */
function keyName(name: string): string {
  return shownValue(name).slice(1, -1);
}

/** By code points, as Python sorts: not by halves of pairs. */
function byCharacter(one: string, other: string): number {
  const [a, b] = [Array.from(one), Array.from(other)];
  for (let i = 0; i < a.length && i < b.length; i += 1) {
    const difference = (a[i]?.codePointAt(0) ?? 0) - (b[i]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
