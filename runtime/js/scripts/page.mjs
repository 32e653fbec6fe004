/** Put a page into one folder that any static server can serve: scripts, ONNX Runtime's WebAssembly, a model. */

import { cp, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

export const RUNTIME = dirname(dirname(fileURLToPath(import.meta.url)));
const ORT = join(RUNTIME, "node_modules", "onnxruntime-web", "dist");
const WASM = { wasm: "ort-wasm-simd-threaded", webgpu: "ort-wasm-simd-threaded.asyncify" };

/**
 * @param {string} out folder, made if it is not there.
 * @param {{app: string, devices?: ("wasm" | "webgpu")[]}} page its own script, and what runs the graphs.
 */
export async function writeScripts(out, { app, devices = ["wasm"] }) {
  await mkdir(out, { recursive: true });
  const src = (name) => join(RUNTIME, "src", name);
  await build({
    entryPoints: [
      { in: app, out: "app" },
      { in: src("browser/worker.ts"), out: "worker" },
      { in: src("browser/worklet.ts"), out: "worklet" },
    ],
    outdir: out,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    minify: true,
    logLevel: "warning",
    legalComments: "linked",
    nodePaths: [join(RUNTIME, "node_modules")],
    alias: { "clap-runtime": src("index.ts"), "clap-runtime/web": src("web.ts") },
    // Its threads load this script again, so it must not be a part of ours.
    conditions: ["onnxruntime-web-use-extern-wasm"],
    ...(devices.includes("webgpu") ? {} : { plugins: [without("onnxruntime-web/webgpu")] }),
  });
  for (const device of devices) {
    for (const end of ["mjs", "wasm"]) await cp(join(ORT, `${WASM[device]}.${end}`), join(out, `${WASM[device]}.${end}`));
  }
}

/** Leave a module out that the page never asks for. */
function without(module) {
  return {
    name: "without",
    setup(builder) {
      builder.onResolve({ filter: new RegExp(`^${module}$`) }, () => ({ path: module, namespace: "without" }));
      builder.onLoad({ filter: /.*/, namespace: "without" }, () => ({
        contents: `throw new Error("this page was built without ${module}");`,
      }));
    },
  };
}

/** A bundle's folder or a tagger's file beside the page; what the page reads of it. */
export async function writeModel(out, { model, labels }) {
  const isFolder = (await stat(model)).isDirectory();
  const name = isFolder ? "bundle" : basename(model);
  await cp(model, join(out, name), { recursive: true, dereference: true });
  const page = isFolder ? { bundle: name, labels } : { tagger: name };
  await writeFile(join(out, "page.json"), `${JSON.stringify(page, null, 2)}\n`);
}

/** Bytes of a folder's files, by name. */
export async function sizes(folder) {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  return Object.fromEntries(await Promise.all(files.map(async (file) => [file, (await stat(file)).size])));
}
