/** A real Chromium without a screen, and a server for the pages that it opens. */

import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

import { RUNTIME } from "../../../runtime/js/scripts/page.mjs";

const { chromium } = createRequire(join(RUNTIME, "package.json"))("playwright-core");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".json": "application/json" };
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
];

/**
 * Serve folders on this machine alone.
 *
 * @param {Record<string, string>} folders by the beginning of their addresses, such as "/".
 * @param {{isolated?: boolean}} options isolated pages have threads.
 */
export async function serve(folders, { isolated = false } = {}) {
  const places = Object.entries(folders).sort(([a], [b]) => b.length - a.length);
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const [begin, folder] = places.find(([start]) => path.startsWith(start)) ?? ["/", ""];
    const file = join(folder, normalize(path.slice(begin.length) || "index.html"));
    const found = await stat(file).catch(() => null);
    if (!found?.isFile()) return response.writeHead(404).end();
    const isolation = isolated ? { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" } : {};
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-length": found.size, ...isolation });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return { url: `http://localhost:${server.address().port}/`, close: () => server.close() };
}

/**
 * Run something in a browser that is new.
 *
 * @param {(context: import("playwright-core").BrowserContext) => Promise<T>} work
 * @param {{microphone?: string}} options a WAV file that its microphone hears, over and over.
 */
export async function inBrowser(work, { microphone } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "clap-browser-"));
  const sound = microphone ? [`--use-file-for-fake-audio-capture=${microphone}`] : [];
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [...FLAGS, ...sound],
  });
  try {
    return await work(context);
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}
