/** SHA-256 by the platform. */

import { BackendError } from "../errors.js";

/** In hex. */
export async function sha256(data: Uint8Array): Promise<string> {
  const digest = await subtle().digest("SHA-256", data as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function subtle(): SubtleCrypto {
  const found = (globalThis.crypto as Crypto | undefined)?.subtle;
  if (found === undefined) {
    throw new BackendError(
      "hashes cannot be compared: browsers have no crypto.subtle on pages that came by plain http from another " +
        "machine. Serve the page by https, or from localhost.",
    );
  }
  return found;
}
