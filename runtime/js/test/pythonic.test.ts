import assert from "node:assert/strict";
import { test } from "node:test";

import { Float, float, general, quoted, round, shown, shownValue, stripped } from "../src/text/pythonic.js";

// What Python 3.11 prints.
test("floats are written with the fewest digits that tell them apart", () => {
  const cases: [number, string][] = [
    [1, "1.0"], [0.1, "0.1"], [-0, "-0.0"], [1e-5, "1e-05"], [0.0001, "0.0001"], [1e16, "1e+16"], [123456789012345680, "1.2345678901234568e+17"],
    [1e15, "1000000000000000.0"], [1e22, "1e+22"], [5e-324, "5e-324"], [NaN, "nan"], [-Infinity, "-inf"], [2.5e-7, "2.5e-07"],
  ];
  for (const [value, text] of cases) assert.equal(float(value), text);
});

test(":g keeps six digits", () => {
  const cases: [number, string][] = [
    [65536, "65536"], [2 ** 24, "1.67772e+07"], [2 ** 40, "1.09951e+12"], [1e-6, "1e-06"], [0.0001, "0.0001"], [768000, "768000"], [100.5, "100.5"],
    [0, "0"], [1e6, "1e+06"], [123456.7, "123457"],
  ];
  for (const [value, text] of cases) assert.equal(general(value), text);
});

test("texts are quoted as Python's repr does", () => {
  const cases: [string, string][] = [
    ["a", "'a'"], ["it's", `"it's"`], [`it's "x"`, `'it\\'s "x"'`], ["a\nb\t\x00\x1b", "'a\\nb\\t\\x00\\x1b'"], ["\u202e", "'\\u202e'"],
    ["\u{1f600}", "'\u{1f600}'"], ["\u{e0001}", "'\\U000e0001'"], ["\u00a0", "'\\xa0'"], ["back\\slash", "'back\\\\slash'"],
  ];
  for (const [text, wanted] of cases) assert.equal(quoted(text), wanted);
});

test("values are cut for messages", () => {
  assert.equal(shownValue("x".repeat(100)), `'${"x".repeat(59)}…`);
  assert.equal(shownValue(new Map<string, null | Float>([["a", null], ["b", new Float(1)]])), "{'a': None, 'b': 1.0}");
  assert.equal(shown("x".repeat(100)), `'${"x".repeat(12)}...${"x".repeat(13)}'`);
});

test("halves are rounded to the even number", () => {
  assert.deepEqual([0.5, 1.5, 2.5, -0.5, 2.4, 2.6].map(round), [0, 2, 2, 0, 2, 3]);
});

test("white space is what Python takes for it", () => {
  // "".join(chr(i) for i in range(0x110000) if chr(i).isspace())
  const all =
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
  assert.equal(stripped(all), "");
  assert.equal(stripped(`${all}a b${all}`), "a b");
  for (const other of ["\ufeff", "\u200b", "\0", "\x1b", "\u180e"]) assert.equal(stripped(other), other);
});
