/**
 * ONNX files are looked into before an engine sees them: an engine does whatever a graph says. A graph of a bundle is
 * one plain data flow, with its weights inside its file.
 */

import { BundleError } from "../errors.js";
import { printable } from "../text/plain-text.js";
import * as onnx from "./onnx-fields.js";
import * as protobuf from "./protobuf.js";
import { Malformed } from "./protobuf.js";

const DOMAINS = ["", "ai.onnx"];
const SAME_NUMBERS = ["Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten"];
const MOST_PARTS = 20_000; // operations, and constants
const MOST_RANK = 8;
const MOST_ELEMENTS = 2 ** 31; // of a shape that a constant asks for
const MOST_TYPED = 1 << 20; // bytes of a list of varints: large constants are raw
const MOST_METADATA = 64 << 20; // bytes of a text beside the graph: a tagger's labels
const OTHER_FORMATS = ["ORTM", "TFL3"]; // that an engine would tell by these bytes

// Bytes of an element, by its number in ONNX's TensorProto.DataType.
const SIZES: Readonly<Record<number, number>> = {
  1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2,
};
const FLOAT = 1;
const INT64 = 7;

/** A shape; an axis without a fixed length is null. */
export type Shape = readonly (number | null)[];

/** A constant: its shape; of a short list of whole numbers the values; its bytes, unless it is a list of numbers. */
export interface Tensor {
  readonly dims: readonly number[];
  readonly values: readonly number[];
  readonly raw: Uint8Array | null;
  readonly isFloat: boolean;
}

interface Node {
  readonly operation: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** What a reader of bundles wants to know of a graph. */
export class OnnxGraph {
  readonly inputs = new Map<string, Shape>();
  readonly outputs = new Map<string, Shape>();
  readonly tensors = new Map<string, Tensor>();
  readonly nodes: Node[] = [];
  readonly metadata = new Map<string, string>();

  /** Length of the constant table that an input picks rows of, if there is one. */
  rows(indices: string): number | null {
    const same = new Set([indices]);
    const tables = new Map(this.tensors);
    for (const { operation, inputs, outputs } of this.nodes) {
      const [first = "", second = ""] = inputs;
      if (SAME_NUMBERS.includes(operation) && same.has(first)) outputs.forEach((name) => same.add(name));
      const table = tables.get(first);
      if (operation === "DequantizeLinear" && table && outputs[0] && !tables.has(outputs[0])) {
        tables.set(outputs[0], table);
      }
      if (operation === "Gather" && inputs.length === 2 && same.has(second)) return table?.dims[0] ?? null;
    }
    return null;
  }
}

/**
 * Look through an ONNX file, without copying its weights.
 *
 * @throws BundleError it is not an ONNX file that a bundle may hold.
 */
export function checkOnnx(data: Uint8Array, name: string): OnnxGraph {
  try {
    return model(data);
  } catch (problem) {
    if (!(problem instanceof Malformed)) throw problem;
    throw new BundleError(
      `'${name}' is not used: ${printable(problem.message)}. A bundle's graph is one file of plain operations with its ` +
        "weights inside. Export the bundle again.",
    );
  }
}

function model(data: Uint8Array): OnnxGraph {
  const mark = String.fromCharCode(...data.subarray(4, 8));
  if (OTHER_FORMATS.includes(mark) || data[0] !== 8) throw new Malformed("it is no ONNX model");
  let result: OnnxGraph | null = null;
  const domains = new Set<string>();
  const metadata = new Map<string, string>();
  for (const { number, bytes } of protobuf.fields(data, onnx.MODEL, "model")) {
    if (bytes === null) continue;
    if (number === 7) {
      if (result !== null) throw new Malformed("it holds two graphs"); // protobuf would merge them
      result = graph(bytes);
    } else if (number === 8) {
      for (const part of protobuf.fields(bytes, onnx.OPSET, "opset")) {
        if (part.number === 1 && part.bytes) domains.add(protobuf.text(part.bytes));
      }
    } else if (number === 14) {
      const entry = new Map<number, Uint8Array>();
      for (const part of protobuf.fields(bytes, onnx.ENTRY, "metadata")) if (part.bytes) entry.set(part.number, part.bytes);
      const name = protobuf.text(entry.get(1) ?? new Uint8Array());
      if (metadata.has(name)) throw new Malformed(`its metadata has two texts '${name}'`);
      metadata.set(name, protobuf.text(entry.get(2) ?? new Uint8Array(), MOST_METADATA));
    }
  }
  if (result === null) throw new Malformed("it holds no graph");
  const strange = [...domains].filter((name) => !DOMAINS.includes(name)).sort()[0];
  if (strange !== undefined) throw new Malformed(`it uses operations of '${strange}', which are not ONNX's own`);
  for (const [name, value] of metadata) result.metadata.set(name, value);
  return result;
}

function graph(data: Uint8Array): OnnxGraph {
  const found = new OnnxGraph();
  const made = new Set<string>();
  for (const { number, bytes } of protobuf.fields(data, onnx.GRAPH, "graph")) {
    if (bytes === null) continue;
    if (number === 1) {
      const [node, constant] = operation(bytes);
      found.nodes.push(node);
      if (constant && node.outputs[0] !== undefined) found.tensors.set(node.outputs[0], constant);
      node.outputs.forEach((name) => made.add(name));
      if (found.nodes.length > MOST_PARTS) throw new Malformed(`it has more than ${MOST_PARTS} operations`);
    } else if (number === 5) {
      found.tensors.set(...tensor(bytes));
      if (found.tensors.size > MOST_PARTS) throw new Malformed(`it has more than ${MOST_PARTS} constants`);
    } else if (number === 11 || number === 12) {
      (number === 11 ? found.inputs : found.outputs).set(...valueInfo(bytes));
    }
  }
  for (const name of found.outputs.keys()) {
    if (!made.has(name)) throw new Malformed(`nothing in it makes its output '${name}'`);
  }
  for (const { operation: name, inputs } of found.nodes) {
    checkSize(name, inputs.map((input) => found.tensors.get(input)));
  }
  return found;
}

/** Refuse constants that ask for a tensor beyond all measure. */
function checkSize(operation: string, inputs: (Tensor | undefined)[]): void {
  const asked = ["Expand", "Tile", "Reshape"].includes(operation) ? inputs[1] : undefined;
  if (asked) product(asked.values.map(Math.abs));
  if (operation === "Range" && inputs.some((t) => t?.values.some((n) => Math.abs(n) > MOST_ELEMENTS))) {
    throw new Malformed("a range in it is longer than any tensor");
  }
  if (operation === "Pad") inputs[1]?.values.forEach((n) => product([Math.abs(n)]));
}

function product(shape: readonly number[]): number {
  const total = shape.reduce((sum, n) => sum * Math.max(n, 1), 1);
  if (total > MOST_ELEMENTS) throw new Malformed(`a tensor of ${total} elements is asked for`);
  return shape.includes(0) ? 0 : total;
}

function operation(data: Uint8Array): [Node, Tensor | null] {
  const inputs: string[] = [];
  const outputs: string[] = [];
  let name = "";
  let constant: Tensor | null = null;
  for (const { number, bytes } of protobuf.fields(data, onnx.NODE, "operation")) {
    if (bytes === null) continue;
    if (number === 1) inputs.push(protobuf.text(bytes));
    else if (number === 2) outputs.push(protobuf.text(bytes));
    else if (number === 4) {
      name = protobuf.text(bytes);
      if (!onnx.OPERATIONS.has(name)) throw new Malformed(`it holds the operation '${name}', which is not on the list`);
    } else if (number === 5) constant = attribute(bytes) ?? constant;
    else if (number === 7 && !DOMAINS.includes(protobuf.text(bytes))) {
      throw new Malformed(`it uses an operation of '${protobuf.text(bytes)}', which is not one of ONNX's own`);
    }
  }
  if (!name) throw new Malformed("an operation has no name");
  return [{ operation: name, inputs, outputs }, name === "Constant" ? constant : null];
}

/** The attribute's tensor, if it is one. */
function attribute(data: Uint8Array): Tensor | null {
  let found: Tensor | null = null;
  for (const { number, bytes } of protobuf.fields(data, onnx.ATTRIBUTE, "attribute")) {
    if ((number === 5 || number === 10) && bytes) found = tensor(bytes)[1];
  }
  return found;
}

function tensor(data: Uint8Array): [string, Tensor] {
  const dims: number[] = [];
  let [kind, typed, name] = [0, 0, ""];
  let raw: Uint8Array | null = null;
  let values: Uint8Array | null = null;
  const bad = () => new Malformed(`constant '${name}' has numbers in a form that is not read`);
  for (const { number, value, bytes } of protobuf.fields(data, onnx.TENSOR, "constant")) {
    if (number === 1) dims.push(...(bytes === null ? [value] : protobuf.varints(bytes, MOST_RANK)));
    else if (number === 2) kind = value ?? 0;
    else if (number === 8 && bytes) name = protobuf.text(bytes);
    else if (number === 9) raw = bytes;
    else if (number === 4 || number === 10) {
      const size = number === 4 ? 4 : 8;
      if (bytes === null || bytes.length % size) throw bad();
      typed += bytes.length / size;
    } else if (number === 5 || number === 7 || number === 11) {
      if (bytes === null || bytes.length > MOST_TYPED) throw bad();
      typed += protobuf.count(bytes);
      if (number === 7) values = bytes;
    } else if (number === 14 && value !== 0) throw new Malformed(`constant '${name}' lies outside the file`);
  }
  const size = SIZES[kind];
  if (size === undefined) throw new Malformed(`constant '${name}' is of a type (${kind}) that no graph of ours has`);
  if (dims.length > MOST_RANK || dims.some((n) => n < 0)) {
    throw new Malformed(`constant '${name}' has the shape [${dims.join(", ")}]`);
  }
  const wanted = product(dims);
  const found = raw === null ? typed : raw.length / size;
  if (found !== wanted || (raw !== null && typed)) {
    throw new Malformed(`constant '${name}' of shape [${dims.join(", ")}] holds ${found} numbers`);
  }
  const short = kind === INT64 && wanted <= 2 * MOST_RANK;
  const numbers = !short ? [] : values ? protobuf.varints(values, wanted) : raw ? whole(raw, wanted) : [];
  return [name, { dims, values: numbers, raw, isFloat: kind === FLOAT }];
}

function whole(raw: Uint8Array, count: number): number[] {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  return Array.from({ length: count }, (_, i) => Number(view.getBigInt64(8 * i, true)));
}

/** Name and shape of an input or output. */
function valueInfo(data: Uint8Array): [string, Shape] {
  let name = "";
  let shape: Shape = [];
  for (const { number, bytes } of protobuf.fields(data, onnx.VALUE_INFO, "input")) {
    if (bytes === null) continue;
    if (number === 1) name = protobuf.text(bytes);
    if (number !== 2) continue;
    for (const type of protobuf.fields(bytes, onnx.TYPE, "type")) if (type.number === 1 && type.bytes) shape = axes(type.bytes);
  }
  return [name, shape];
}

function axes(data: Uint8Array): Shape {
  const found: (number | null)[] = [];
  for (const part of protobuf.fields(data, onnx.TENSOR_TYPE, "type")) {
    if (part.number !== 2 || part.bytes === null) continue;
    for (const axis of protobuf.fields(part.bytes, onnx.SHAPE, "shape")) {
      if (axis.bytes === null) continue;
      let length: number | null = null;
      for (const { number, value } of protobuf.fields(axis.bytes, onnx.AXIS, "axis")) if (number === 1) length = value;
      found.push(length);
    }
  }
  return found;
}
