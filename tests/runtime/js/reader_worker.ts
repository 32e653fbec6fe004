/** A conformance kit's questions, answered in a browser's worker. */

import { Answers } from "../../../runtime/js/src/conformance/reader.js";
import { WebEngine } from "../../../runtime/js/src/engines/web.js";
import type { BundleSource } from "../../../runtime/js/src/sources/source.js";

interface Question {
  readonly line: string;
  readonly kit: string;
}

const page = globalThis as unknown as {
  postMessage(answer: string): void;
  onmessage: (event: MessageEvent<Question>) => void;
};

let kit = "";

/** A file of the kit, which the server has below /kit/. */
function address(path: string): string {
  return `/kit${path.slice(kit.length).split("/").map(encodeURIComponent).join("/")}`;
}

async function read(path: string): Promise<Uint8Array | null> {
  const answer = await fetch(address(path));
  return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : null;
}

function bundle(path: string): BundleSource {
  return {
    name: path,
    read: (file) => read(`${path}/${file}`),
    async size(file) {
      const answer = await fetch(address(`${path}/${file}`), { method: "HEAD" });
      return answer.ok ? Number(answer.headers.get("content-length")) : null;
    },
  };
}

const engine = new WebEngine({ wasmPath: new URL("./", import.meta.url).href, threads: 1 });
const answers = new Answers({ read, bundle }, engine);

page.onmessage = async ({ data }) => {
  kit = data.kit;
  page.postMessage(await answers.to(data.line).catch((error: unknown) => JSON.stringify({ bug: String(error) })));
};
