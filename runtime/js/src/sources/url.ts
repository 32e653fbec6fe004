/** A bundle on a web server: each file is fetched when it is needed. */

import { BundleError, reason } from "../errors.js";
import type { BundleSource } from "./source.js";

export class UrlSource implements BundleSource {
  readonly name: string;

  /**
   * @param url of the bundle's folder.
   * @param fetcher for headers and caches of your own.
   */
  constructor(
    url: string | URL,
    private readonly fetcher: typeof fetch = (...given) => fetch(...given),
  ) {
    this.name = String(url).replace(/\/$/, "");
  }

  async size(): Promise<undefined> {
    return undefined;
  }

  read(file: string): Promise<Uint8Array | null> {
    const path = file.split("/").map(encodeURIComponent).join("/");
    return fetched(`${this.name}/${path}`, this.fetcher);
  }
}

/**
 * The bytes at an address; null where the server has none.
 *
 * @throws BundleError the server cannot be reached, or refuses.
 */
export async function fetched(url: string, fetcher: typeof fetch = fetch): Promise<Uint8Array | null> {
  let answer: Response;
  try {
    answer = await fetcher(url);
    if (answer.status === 404) return null;
    if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
  } catch (error) {
    throw new BundleError(`'${url}' cannot be fetched: ${reason(error)}.`);
  }
  throw new BundleError(`'${url}' cannot be fetched: the server says ${answer.status} ${answer.statusText}.`);
}
