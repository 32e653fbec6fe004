/** A bundle from `File` objects: of an input that takes a folder, or dropped on a page. */

import { BundleError, reason } from "../errors.js";
import type { BundleSource } from "./source.js";

export class FilesSource implements BundleSource {
  readonly name: string;
  private readonly files = new Map<string, File>();

  /** @param files all of the folder, in any order; their paths in it are taken from the browser. */
  constructor(files: Iterable<File>, name?: string) {
    const all = Array.from(files, (file) => ({ file, path: file.webkitRelativePath || file.name }));
    const manifest = all.find(({ path }) => path.split("/").at(-1) === "manifest.json");
    const folder = manifest ? manifest.path.slice(0, -"manifest.json".length) : "";
    for (const { file, path } of all) if (path.startsWith(folder)) this.files.set(path.slice(folder.length), file);
    this.name = name ?? (folder.replace(/\/$/, "") || "the chosen files");
  }

  async size(file: string): Promise<number | null> {
    return this.files.get(file)?.size ?? null;
  }

  async read(file: string): Promise<Uint8Array | null> {
    const found = this.files.get(file);
    if (found === undefined) return null;
    try {
      return new Uint8Array(await found.arrayBuffer());
    } catch (error) {
      throw new BundleError(`'${this.name}/${file}' cannot be read: ${reason(error)}.`);
    }
  }
}
