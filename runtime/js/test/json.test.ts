import assert from "node:assert/strict";
import { test } from "node:test";

import { readJson, toOrdinary } from "../src/text/json.js";
import { Float } from "../src/text/pythonic.js";

const utf8 = (text: string) => new TextEncoder().encode(text);

test("it reads what JSON.parse reads", () => {
  const texts = ['{"a": [1, -2.5e3, true, false, null, "\\u00e9\\n\\"\\\\/"], "b": {}, "c": []}', "  [0]  ", '"x"', "12", "-0.0"];
  for (const text of texts) assert.deepEqual(toOrdinary(readJson(utf8(text), "it")), JSON.parse(text));
});

test("it tells whole numbers from others, and keeps large ones", () => {
  assert.deepEqual(readJson(utf8("[1, 1.0, 12345678901234567890]"), "it"), [1, new Float(1), 12345678901234567890n]);
});

test("numbers that look like keys keep their place, and __proto__ is a key as others are", () => {
  const found = readJson(utf8('{"b": 1, "2": 2, "1": 3, "__proto__": 4}'), "it") as Map<string, number>;
  assert.deepEqual([...found], [["b", 1], ["2", 2], ["1", 3], ["__proto__", 4]]);
});

// Sentences that Python 3.11's json gives.
test("it says what is wrong, and where", () => {
  const cases: [string, string][] = [
    ["", "Expecting value: line 1 column 1 (char 0)"],
    ["{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
    ['{"a" 1}', "Expecting ':' delimiter: line 1 column 6 (char 5)"],
    ['{"a": 1 "b": 2}', "Expecting ',' delimiter: line 1 column 9 (char 8)"],
    ["[1,\n 2", "Expecting ',' delimiter: line 2 column 3 (char 6)"],
    ["[1] x", "Extra data: line 1 column 5 (char 4)"],
    ['"a', "Unterminated string starting at: line 1 column 1 (char 0)"],
    ['"a\nb"', "Invalid control character at: line 1 column 3 (char 2)"],
    ['"\\x"', "Invalid \\escape: line 1 column 2 (char 1)"],
    ['{"a": 1, "a": 2}', "the key 'a' is there twice"],
    ["1".repeat(21), "a number has 21 digits"],
    ["[".repeat(101) + "]".repeat(101), "brackets are nested more than 100 deep"],
  ];
  for (const [text, wanted] of cases) {
    assert.throws(() => readJson(utf8(text), "it"), { message: `it cannot be read as JSON (${wanted}).` }, text.slice(0, 20));
  }
  assert.throws(() => readJson(new Uint8Array([0x22, 0xff, 0x22]), "it"), {
    message: "it cannot be read as JSON ('utf-8' codec can't decode byte 0xff in position 1: invalid start byte).",
  });
});
