/** A conformance kit's reader in Chromium: node chromium_reader.mjs FOLDER, which is made for its page. */

import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { writeScripts } from "../../../runtime/js/scripts/page.mjs";
import { inBrowser, serve } from "./browser.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const [folder] = process.argv.slice(2);
await writeScripts(folder, { app: join(here, "reader_worker.ts") });
await writeFile(join(folder, "index.html"), "<!doctype html><title>reader</title>");

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity })[Symbol.asyncIterator]();
let next = await lines.next();
if (!next.done) {
  const { kit } = JSON.parse(next.value);
  const server = await serve({ "/": folder, "/kit/": kit });
  await inBrowser(async (context) => {
    const tab = await context.newPage();
    await tab.goto(server.url);
    await tab.evaluate(() => {
      const worker = new Worker("app.js", { type: "module" });
      globalThis.ask = (question) =>
        new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = ({ message }) => reject(new Error(message));
          worker.postMessage(question);
        });
    });
    for (; !next.done; next = await lines.next()) {
      const answer = await tab.evaluate((question) => globalThis.ask(question), { line: next.value, kit });
      process.stdout.write(`${answer}\n`);
    }
  }).finally(() => server.close());
}
