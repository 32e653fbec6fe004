/** The demo page in one folder: node examples/browser/build.mjs MODEL OUT [--labels a,b,c] [--webgpu] */

import { cp } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { writeModel, writeScripts } from "../../runtime/js/scripts/page.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const LABELS =
  "dog,cat,rooster,rain,sea waves,crackling fire,siren,car horn,engine,helicopter,church bells,clock tick," +
  "clock alarm,vacuum cleaner,keyboard typing,a person speaking,music,silence";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { labels: { type: "string", default: LABELS }, webgpu: { type: "boolean", default: false } },
});
const [model, out] = positionals;
if (positionals.length !== 2) {
  console.error("usage: node examples/browser/build.mjs BUNDLE|TAGGER OUT [--labels a,b,c] [--webgpu]");
  process.exit(2);
}
await writeScripts(out, { app: join(here, "app.ts"), devices: values.webgpu ? ["wasm", "webgpu"] : ["wasm"] });
await writeModel(out, { model, labels: values.labels.split(",").map((label) => label.trim()) });
for (const file of ["index.html", "style.css"]) await cp(join(here, file), join(out, file));
console.log(`${out} is ready: serve it, as with: python -m http.server -d ${out}`);
