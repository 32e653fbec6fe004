/**
 * The messages of an ONNX file: the numbers of their fields, how each is written, and what a refused one would be.
 * A field of another wire type is refused, but lists of numbers may be packed or not.
 */

import { BYTES, FIXED32, FIXED64, type Fields, VARINT } from "./protobuf.js";

export const MODEL: Fields = {
  1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES,
  20: "training", 25: "functions", 26: "a configuration of devices",
};
export const OPSET: Fields = { 1: BYTES, 2: VARINT };
export const ENTRY: Fields = { 1: BYTES, 2: BYTES };
export const GRAPH: Fields = {
  1: BYTES, 2: BYTES, 5: BYTES, 10: BYTES, 11: BYTES, 12: BYTES, 13: BYTES, 14: BYTES,
  15: "sparse constants", 16: BYTES,
};
export const NODE: Fields = {
  1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES, 7: BYTES,
  8: "an overloaded function", 9: BYTES, 10: "a configuration of devices",
};
export const ATTRIBUTE: Fields = {
  1: BYTES, 2: FIXED32, 3: VARINT, 4: BYTES, 5: BYTES, 6: "a graph inside an operation",
  7: [FIXED32, BYTES], 8: [VARINT, BYTES], 9: BYTES, 10: BYTES, 11: "graphs inside an operation",
  13: BYTES, 14: "a type as an attribute", 15: "types as an attribute", 20: VARINT,
  21: "a function's attribute", 22: "a sparse constant", 23: "sparse constants",
};
export const TENSOR: Fields = {
  1: [VARINT, BYTES], 2: VARINT, 3: "a constant in segments", 4: [FIXED32, BYTES],
  5: [VARINT, BYTES], 6: "a constant of texts", 7: [VARINT, BYTES], 8: BYTES, 9: BYTES,
  10: [FIXED64, BYTES], 11: [VARINT, BYTES], 12: BYTES, 13: "a constant outside the file",
  14: VARINT, 16: BYTES,
};
export const VALUE_INFO: Fields = { 1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES };
export const TYPE: Fields = {
  1: BYTES, 4: "a sequence as input", 5: "a map as input", 6: BYTES, 7: "an opaque type",
  8: "a sparse input", 9: "an optional input",
};
export const TENSOR_TYPE: Fields = { 1: VARINT, 2: BYTES };
export const SHAPE: Fields = { 1: BYTES };
export const AXIS: Fields = { 1: VARINT, 2: BYTES, 3: BYTES };

/** What the graphs of bundles are made of. None of them runs another graph, opens a file or depends on chance. */
export const OPERATIONS: ReadonlySet<string> = new Set(
  `Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant Conv
  ConvTranspose Cos CumSum DequantizeLinear Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp
  Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool
  GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
  InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul
  MatMulInteger Max MaxPool Mean Min Mod Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul
  QuantizeLinear Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum
  ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus
  Split Sqrt Squeeze Sub Sum Tanh Tile TopK Transpose Trilu Unsqueeze Where`.split(/\s+/),
);
