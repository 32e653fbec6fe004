/** Values as Python writes them: sentences are the same in every language that reads bundles. */

/** A number that a document wrote with a point or an exponent: `1.0` is no whole number. */
export class Float {
  constructor(readonly value: number) {}
}

/** What a JSON document holds. Tables keep the order of their keys. */
export type Json = null | boolean | number | bigint | string | Float | Json[] | JsonTable;
export type JsonTable = Map<string, Json>;

const SHORT = 60; // characters of a value in a message
const MOST_TEXT = 30;
const MOST_ITEMS = 6;
const NOT_PRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Zs}]/u;

/** A text in quotes. */
export function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let found = "";
  for (const character of text) {
    if (character === quote || character === "\\") found += `\\${character}`;
    else if (character === " " || !NOT_PRINTABLE.test(character)) found += character;
    else found += escaped(character);
  }
  return quote + found + quote;
}

/** A character as an escape: `\x1b`, `\u202e`. */
export function escaped(character: string): string {
  const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" }[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}

/** A float with the fewest digits that tell it from others: `1.0`, `1e-05`, `nan`. */
export function float(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [digits = "", power = "0"] = value.toExponential().split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) return `${digits}e${signed(exponent)}`;
  const plain = toDecimal(digits, exponent);
  return plain.includes(".") ? plain : `${plain}.0`;
}

/** A number with six digits at most, as `:g` writes it. */
export function general(value: number, digits = 6): string {
  if (!Number.isFinite(value)) return float(value);
  if (value === 0) return "0";
  const [mantissa = "", power = "0"] = value.toExponential(digits - 1).split("e");
  const exponent = Number(power);
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  if (exponent < -4 || exponent >= digits) return `${short}e${signed(exponent)}`;
  return toDecimal(short, exponent);
}

function signed(exponent: number): string {
  return `${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function toDecimal(mantissa: string, exponent: number): string {
  const sign = mantissa.startsWith("-") ? "-" : "";
  const digits = mantissa.replace("-", "").replace(".", "");
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  const rest = digits.slice(exponent + 1);
  return sign + whole + (rest ? `.${rest}` : "");
}

/** Any value of a document. */
export function repr(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return quoted(value);
  if (value instanceof Float) return float(value.value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : float(value);
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  if (value instanceof Map) {
    return `{${Array.from(value, ([key, item]) => `${repr(key)}: ${repr(item)}`).join(", ")}}`;
  }
  return `<${typeName(value)}>`;
}

/** A list as a tuple: `('a',)`, `(1, 2)`. */
export function tuple(items: readonly unknown[]): string {
  return items.length === 1 ? `(${repr(items[0])},)` : `(${items.map(repr).join(", ")})`;
}

/** A value of a document for a message: short, and without what a terminal would obey. */
export function shownValue(value: unknown): string {
  const text = repr(value);
  return characters(text) <= SHORT ? text : `${Array.from(text).slice(0, SHORT).join("")}…`;
}

/** A caller's value for a message, shortened in its middle. */
export function shown(value: unknown): string {
  if (typeof value === "string") {
    const text = quoted(Array.from(value).slice(0, MOST_TEXT).join(""));
    if (characters(value) <= MOST_TEXT && text.length <= MOST_TEXT) return text;
    const whole = quoted(value);
    return `${whole.slice(0, 13)}...${whole.slice(-14)}`;
  }
  if (Array.isArray(value)) {
    const items = value.slice(0, MOST_ITEMS).map(shown);
    return `[${[...items, ...(value.length > MOST_ITEMS ? ["..."] : [])].join(", ")}]`;
  }
  return repr(value);
}

/** What Python calls the type of a value. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "str";
  if (value instanceof Float) return "float";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return Number.isInteger(value) ? "int" : "float";
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "dict";
  return typeof value === "object" ? value.constructor.name : typeof value;
}

// What Python's `str.isspace` says yes to; JavaScript's own has the byte order mark, and not these controls.
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** A text without the white space around it. */
export function stripped(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && SPACE.test(text.charAt(start))) start += 1;
  while (end > start && SPACE.test(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** The number of characters of a text: those beyond 16 bits count once. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** A number rounded to the nearest whole one, halves to the even one. */
export function round(value: number): number {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}
