/**
 * JSON that anybody may have written. `JSON.parse` takes a key that is there twice, and does not
 * tell `1` from `1.0`; sentences about what is wrong are Python's.
 */

import { type ErrorClass, reason, SchemaError } from "../errors.js";
import { characters, Float, type Json, type JsonTable, shownValue } from "./pythonic.js";
import { decode } from "./utf8.js";

const MOST_DEPTH = 100;
const MOST_DIGITS = 20; // of a whole number: 64 bits have 19, and a sign
const NUMBER = /(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES: Record<string, string> = {
  '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t",
};
const WORDS: [string, Json][] = [
  ["null", null], ["true", true], ["false", false], ["NaN", new Float(NaN)],
  ["Infinity", new Float(Infinity)], ["-Infinity", new Float(-Infinity)],
];
const HALF = /[\ud800-\udfff]/u;

/**
 * @param data UTF-8.
 * @param where the document's name, for messages.
 * @throws ClapError as `error`: it is no JSON in UTF-8, is nested too deep, names a key twice, or
 * holds a number of more than 20 digits or half of a character.
 */
export function readJson(data: Uint8Array, where: string, error: ErrorClass = SchemaError): Json {
  try {
    return new Parser(decode(data)).document();
  } catch (problem) {
    throw new error(`${where} cannot be read as JSON (${reason(problem)}).`);
  }
}

class Parser {
  private at = 0;
  private depth = 0;

  constructor(private readonly text: string) {}

  document(): Json {
    this.checkDepth();
    this.space();
    const found = this.value();
    this.space();
    if (this.at < this.text.length) this.fail("Extra data");
    return found;
  }

  private value(): Json {
    const first = this.text[this.at];
    if (first === '"') return this.string();
    if (first === "{") return this.table();
    if (first === "[") return this.list();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    const found = this.match(NUMBER);
    if (found === null) return this.fail("Expecting value");
    const [text, whole = "", fraction, exponent] = found;
    if (fraction !== undefined || exponent !== undefined) return new Float(Number(text));
    if (whole.length > MOST_DIGITS) throw new Error(`a number has ${whole.length} digits`);
    const number = Number(whole);
    return Number.isSafeInteger(number) ? number + 0 : BigInt(whole);
  }

  private table(): JsonTable {
    const found: JsonTable = new Map();
    let again: string | undefined;
    this.at += 1;
    this.space();
    if (this.text[this.at] === "}") {
      this.at += 1;
      return found;
    }
    for (;;) {
      if (this.text[this.at] !== '"') this.fail("Expecting property name enclosed in double quotes");
      const key = this.string();
      this.space();
      if (this.text[this.at] !== ":") this.fail("Expecting ':' delimiter");
      this.at += 1;
      this.space();
      const value = this.value();
      if (found.has(key)) again ??= key;
      found.set(key, value);
      this.space();
      const next = this.text[this.at];
      this.at += 1;
      if (next === "}") break;
      if (next !== ",") this.fail("Expecting ',' delimiter", this.at - 1);
      this.space();
      if (this.text[this.at] !== '"') this.fail("Expecting property name enclosed in double quotes", this.at);
    }
    if (again !== undefined) throw new Error(`the key ${shownValue(again)} is there twice`);
    return found;
  }

  private list(): Json[] {
    const found: Json[] = [];
    this.at += 1;
    this.space();
    if (this.text[this.at] === "]") {
      this.at += 1;
      return found;
    }
    for (;;) {
      found.push(this.value());
      this.space();
      const next = this.text[this.at];
      this.at += 1;
      if (next === "]") return found;
      if (next !== ",") this.fail("Expecting ',' delimiter", this.at - 1);
      this.space();
    }
  }

  private string(): string {
    const start = this.at;
    let found = "";
    this.at += 1;
    for (;;) {
      found += this.match(PLAIN)?.[0] ?? "";
      const next = this.text[this.at];
      if (next === undefined) return this.fail("Unterminated string starting at", start);
      if (next === '"') break;
      if (next !== "\\") return this.fail("Invalid control character at");
      const letter = this.text[this.at + 1];
      if (letter === undefined) return this.fail("Unterminated string starting at", start);
      const plain = ESCAPES[letter];
      if (plain !== undefined) {
        found += plain;
        this.at += 2;
      } else if (letter === "u") {
        const hex = this.text.slice(this.at + 2, this.at + 6);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.fail("Invalid \\uXXXX escape", this.at + 1);
        found += String.fromCharCode(parseInt(hex, 16));
        this.at += 6;
      } else {
        this.fail("Invalid \\escape");
      }
    }
    this.at += 1;
    const half = HALF.exec(found);
    if (half !== null) {
      const code = half[0].charCodeAt(0).toString(16);
      const place = characters(found.slice(0, half.index));
      throw new Error(`'utf-8' codec can't encode character '\\u${code}' in position ${place}: surrogates not allowed`);
    }
    return found;
  }

  private match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  private space(): void {
    this.match(SPACE);
  }

  private fail(what: string, at = this.at): never {
    const before = this.text.slice(0, at).split("\n");
    const column = characters(before.at(-1) ?? "") + 1;
    throw new Error(`${what}: line ${before.length} column ${column} (char ${characters(this.text.slice(0, at))})`);
  }

  private checkDepth(): void {
    let inside = false;
    for (let at = 0; at < this.text.length; at += 1) {
      const code = this.text.charCodeAt(at);
      if (inside) {
        if (code === 0x5c) at += 1;
        else if (code === 0x22) inside = false;
      } else if (code === 0x22) inside = true;
      else if (code === 0x5b || code === 0x7b) {
        this.depth += 1;
        if (this.depth > MOST_DEPTH) throw new Error(`brackets are nested more than ${MOST_DEPTH} deep`);
      } else if (code === 0x5d || code === 0x7d) this.depth -= 1;
    }
  }
}

/** A document as ordinary objects and arrays, for libraries that take these. */
export function toOrdinary(value: Json): unknown {
  if (value instanceof Float) return value.value;
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(toOrdinary);
  if (value instanceof Map) {
    return Object.fromEntries(Array.from(value, ([key, item]) => [key, toOrdinary(item)]));
  }
  return value;
}
