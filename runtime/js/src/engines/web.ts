/** onnxruntime-web: ONNX Runtime in WebAssembly, or on the GPU by WebGPU. */

import { BackendError, reason } from "../errors.js";
import type { Engine, Session } from "./engine.js";
import { type OnnxRuntime, OnnxRuntimeSession } from "./onnxruntime.js";

export interface WebOptions {
  /** Default `wasm`. `webgpu` that is not to be had is an error: nothing falls back in silence. */
  readonly device?: "wasm" | "webgpu";
  /** Of WebAssembly. More than one needs a page that is isolated (COOP and COEP); default what there is. */
  readonly threads?: number;
  /** Address of the folder of onnxruntime-web's `.wasm` and `.mjs` files; default beside the worker's script. */
  readonly wasmPath?: string;
}

interface WebRuntime extends OnnxRuntime {
  readonly env: { wasm: { numThreads?: number; wasmPaths?: string; proxy?: boolean }; logLevel?: string };
}

export class WebEngine implements Engine {
  readonly name: string;

  constructor(private readonly options: WebOptions = {}) {
    this.name = `web ${options.device ?? "wasm"}`;
  }

  async open(model: Uint8Array, path: string): Promise<Session> {
    const { device = "wasm", threads, wasmPath } = this.options;
    if (device === "webgpu") await checkGpu();
    const ort = await load(device);
    if (wasmPath !== undefined) ort.env.wasm.wasmPaths = wasmPath;
    // Without isolation there is no shared memory, and ONNX Runtime warns of every thread that it was asked for.
    ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? (threads ?? 0) : 1;
    return OnnxRuntimeSession.open(ort, model, path, {
      executionProviders: [device],
      logSeverityLevel: 3,
    });
  }
}

async function load(device: "wasm" | "webgpu"): Promise<WebRuntime> {
  try {
    const found: unknown = await (device === "wasm" ? import("onnxruntime-web/wasm") : import("onnxruntime-web/webgpu"));
    return found as WebRuntime;
  } catch (error) {
    throw new BackendError(
      `onnxruntime-web cannot be imported (${reason(error)}). Install it: npm install onnxruntime-web`,
    );
  }
}

async function checkGpu(): Promise<void> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<unknown> } } | undefined)?.gpu;
  if (!(await gpu?.requestAdapter().catch(() => null))) {
    throw new BackendError("'webgpu' was asked for, and there is no WebGPU here: choose 'wasm'.");
  }
}
