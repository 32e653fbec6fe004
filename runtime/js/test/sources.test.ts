import assert from "node:assert/strict";
import { test } from "node:test";

import { rateOf } from "../src/audio/headers.js";
import { Bundle } from "../src/format/bundle.js";
import { FilesSource } from "../src/sources/files.js";
import { MemorySource } from "../src/sources/memory.js";
import { UrlSource } from "../src/sources/url.js";

const bytes = (...values: number[]) => new Uint8Array(values);

test("files of a folder are found by their paths in it", async () => {
  const file = (path: string, text: string) => Object.defineProperty(new File([text], path.split("/").at(-1) ?? ""), "webkitRelativePath", { value: path });
  const source = new FilesSource([file("models/mini/audio.onnx", "a"), file("models/mini/manifest.json", "{}"), file("other.txt", "x")]);
  assert.equal(source.name, "models/mini");
  assert.deepEqual(await source.read("audio.onnx"), bytes(0x61));
  assert.equal(await source.size("other.txt"), null);
});

test("a server that has no bundle, and one that fails", async () => {
  const answer = (status: number) => (async () => new Response("", { status, statusText: "so" })) as unknown as typeof fetch;
  await assert.rejects(Bundle.open(new UrlSource("http://x/b/", answer(404))), { code: "bundle", message: /^no bundle at http:\/\/x\/b:/ });
  await assert.rejects(Bundle.open(new UrlSource("http://x/b", answer(500))), {
    message: "'http://x/b/manifest.json' cannot be fetched: the server says 500 so.",
  });
});

test("a manifest that is none", async () => {
  const open = (text: string) => Bundle.open(new MemorySource({ "manifest.json": new TextEncoder().encode(text) }, "b"));
  await assert.rejects(open("[]"), { code: "bundle", message: "b/manifest.json is not the manifest of a clap-export bundle ('format' differs)." });
  await assert.rejects(open('{"format": "clap-export-bundle", "format_version": 4.0}'), { message: /'format_version' must be int, is float/ });
  await assert.rejects(open('{"format": "clap-export-bundle", "format_version": 4, "x": 1}'), { code: "schema", message: /unknown key 'x'; missing key 'name'/ });
});

// Headers by the formats' specifications.
test("rates that compressed files state", () => {
  const flac = new Uint8Array(42);
  flac.set([0x66, 0x4c, 0x61, 0x43, 0, 0, 0, 34]);
  flac.set([0x0a, 0xc4, 0x42], 18); // 44,100 in 20 bits
  assert.equal(rateOf(flac), 44_100);
  assert.equal(rateOf(bytes(0xff, 0xfb, 0x90, 0)), 44_100); // MPEG 1, layer 3
  assert.equal(rateOf(bytes(0xff, 0xf3, 0x94, 0)), 24_000); // MPEG 2
  assert.equal(rateOf(bytes(0xff, 0xf1, 0x50, 0)), null); // AAC
  assert.equal(rateOf(bytes(1, 2, 3)), null);
});
