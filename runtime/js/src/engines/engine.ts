/** What runs graphs: one interface, an engine chosen by the caller. */

/** Numbers for a graph, and from it. */
export type Tensor =
  | { readonly type: "float32"; readonly data: Float32Array; readonly dims: readonly number[] }
  | { readonly type: "int64"; readonly data: BigInt64Array; readonly dims: readonly number[] }
  | { readonly type: "bool"; readonly data: Uint8Array; readonly dims: readonly number[] };

export type Tensors = Readonly<Record<string, Tensor>>;

/** A graph that is loaded. */
export interface Session {
  /** Of the graph, in its order. */
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * Run the graph on a batch; runs wait for each other.
   *
   * @throws BackendError the engine failed, or was closed.
   */
  run(inputs: Tensors): Promise<Tensors>;
  /** Release its memory. */
  close(): Promise<void>;
}

export interface Engine {
  /** What runs the graphs, such as `node cpu` or `web wasm`. */
  readonly name: string;
  /**
   * Load a graph.
   *
   * @param model an ONNX file's bytes, which were looked through.
   * @param path of it, for sentences.
   * @throws BackendError the engine is not installed or cannot start, or the graph cannot be loaded.
   */
  open(model: Uint8Array, path: string): Promise<Session>;
}
