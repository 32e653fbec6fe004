/** onnxruntime-node: ONNX Runtime's own library, on the CPU. */

import { BackendError, reason } from "../errors.js";
import type { Engine, Session } from "./engine.js";
import { type OnnxRuntime, OnnxRuntimeSession } from "./onnxruntime.js";

export interface NodeOptions {
  /** Of the CPU inside one run; default one for each core. */
  readonly threads?: number;
}

export class NodeEngine implements Engine {
  readonly name = "node cpu";

  constructor(private readonly options: NodeOptions = {}) {}

  async open(model: Uint8Array, path: string): Promise<Session> {
    const { threads } = this.options;
    return OnnxRuntimeSession.open(await load(), model, path, {
      executionProviders: ["cpu"],
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    });
  }
}

async function load(): Promise<OnnxRuntime> {
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
  try {
    const found = await import("onnxruntime-node");
    return ((found as { default?: unknown }).default ?? found) as OnnxRuntime;
  } catch (error) {
    throw new BackendError(
      `onnxruntime-node cannot be imported (${reason(error)}). Install it: npm install --ignore-scripts onnxruntime-node`,
    );
  }
}
