/** ONNX Runtime's sessions, which are alike in Node and in browsers. */

import type { InferenceSession, OnnxValue, TensorConstructor } from "onnxruntime-common";

import { BackendError, reason } from "../errors.js";
import type { Session, Tensor, Tensors } from "./engine.js";

/** What a module of ONNX Runtime has. */
export interface OnnxRuntime {
  readonly InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: TensorConstructor;
}

export class OnnxRuntimeSession implements Session {
  private turn: Promise<unknown> = Promise.resolve();
  private session: InferenceSession | null;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];

  private constructor(
    private readonly ort: OnnxRuntime,
    session: InferenceSession,
  ) {
    this.session = session;
    this.inputNames = session.inputNames;
    // Whole numbers are a tagger's indices, which the runtime makes itself.
    const whole = new Set(session.outputMetadata.filter((o) => o.isTensor && o.type === "int64").map((o) => o.name));
    this.outputNames = session.outputNames.filter((name) => !whole.has(name));
  }

  static async open(
    ort: OnnxRuntime,
    model: Uint8Array,
    path: string,
    options: InferenceSession.SessionOptions,
  ): Promise<OnnxRuntimeSession> {
    try {
      return new OnnxRuntimeSession(ort, await ort.InferenceSession.create(model, options));
    } catch (error) {
      throw new BackendError(`ONNX Runtime cannot load '${path}': ${reason(error)}`);
    }
  }

  run(inputs: Tensors): Promise<Tensors> {
    const found = this.turn.then(() => this.runNow(inputs));
    this.turn = found.catch(() => undefined);
    return found;
  }

  private async runNow(inputs: Tensors): Promise<Tensors> {
    if (this.session === null) throw new BackendError("this engine was closed: open the bundle again.");
    const { Tensor } = this.ort;
    const feeds: Record<string, OnnxValue> = {};
    for (const [name, { type, data, dims }] of Object.entries(inputs)) feeds[name] = new Tensor(type, data, dims);
    let found: InferenceSession.OnnxValueMapType;
    try {
      found = await this.session.run(feeds, [...this.outputNames]);
    } catch (error) {
      const shapes = Object.entries(inputs).map(([name, { dims }]) => `${name} [${dims.join(", ")}]`);
      throw new BackendError(`ONNX Runtime failed on inputs ${shapes.join(", ")}: ${reason(error)}`);
    }
    return Object.fromEntries(Object.entries(found).map(([name, value]) => [name, value as unknown as Tensor]));
  }

  async close(): Promise<void> {
    await this.turn;
    const session = this.session;
    this.session = null;
    await session?.release();
  }
}
