import assert from "node:assert/strict";
import { test } from "node:test";

import { floats, parseNpy } from "../src/format/npy.js";

/** An array's file by numpy's specification. */
function npy(header: string, data: Float32Array): Uint8Array {
  const text = new TextEncoder().encode(`${header}\n`);
  const begin = [0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, text.length & 0xff, text.length >> 8];
  return new Uint8Array([...begin, ...text, ...new Uint8Array(data.buffer)]);
}

const SIX = Float32Array.from([1, 2, 3, 4, 5, 6]);

test("a header is Python's table, however it is written", () => {
  for (const header of [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}   ",
    "{'shape': (2, 3,), 'fortran_order': False, 'descr': '<f4'}",
    " {'descr':'<f4','fortran_order':False,'shape':(2,3)}",
    '{"descr": "<f4", "fortran_order": False, "shape": (2, 3), }',
  ]) {
    const found = parseNpy(npy(header, SIX), "array");
    assert.deepEqual([found.dtype, found.shape, found.fortran], ["float32", [2, 3], false], header);
    assert.deepEqual(floats(found).data, SIX);
  }
});

test("what is no table of Python's is refused", () => {
  const rest = "'fortran_order': False";
  for (const header of [
    `{'descr': '<f4', ${rest}}`,
    `{'descr': '<f4', ${rest}, 'shape': (2, , 3), }`,
    `{'descr': '<f4', ${rest}, 'shape': (02, 3), }`,
    `{'descr': '<f4', ${rest}, 'shape': (6), }`,
    `{'descr': '<f4', ${rest}, 'shape': (2, 3), } 9`,
    `{'descr': '<f4', ${rest}, 'shape': (2, 3), 'more': True}`,
    `{'descr': '<f4" ${rest}, 'shape': (2, 3)}`,
    `{'descr': '<f4' ${rest}, 'shape': (2, 3)}`,
    `{'descr': '<f4', ${rest}, 'shape': (2, 3), }${" ".repeat(10_000)}`,
  ]) {
    assert.throws(() => parseNpy(npy(header, SIX), "array"), /an array's header cannot be read/, header);
  }
});

test("columns lie one behind the other in Fortran's order, and rows without a number are none", () => {
  const table = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }";
  assert.deepEqual([...floats(parseNpy(npy(table, SIX), "array")).data], [1, 3, 5, 2, 4, 6]);
  const many = "{'descr': '<f4', 'fortran_order': True, 'shape': (140737488355328, 0), }";
  assert.equal(floats(parseNpy(npy(many, new Float32Array()), "array")).data.length, 0);
});
