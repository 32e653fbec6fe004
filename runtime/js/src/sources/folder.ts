/** A bundle in a folder, in Node. */

import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { BundleError, type ErrorClass } from "../errors.js";
import type { BundleSource } from "./source.js";

export class FolderSource implements BundleSource {
  constructor(readonly name: string) {}

  async size(file: string): Promise<number | null> {
    await this.checkFolder();
    try {
      const found = await stat(join(this.name, file));
      if (!found.isFile()) throw notAFile(join(this.name, file), found.isDirectory());
      return found.size;
    } catch (error) {
      return absent(error, join(this.name, file), BundleError);
    }
  }

  async read(file: string): Promise<Uint8Array | null> {
    await this.checkFolder();
    return readBytes(join(this.name, file), BundleError);
  }

  private async checkFolder(): Promise<void> {
    const found = await stat(this.name).catch(() => null);
    if (found?.isFile()) {
      throw new BundleError(`${this.name} is a file: a bundle is a folder with a manifest.json. Pass that.`);
    }
  }
}

/**
 * A file's bytes; null where there is none.
 *
 * @throws ClapError as `error`: it cannot be read.
 */
export async function readBytes(path: string, error: ErrorClass): Promise<Uint8Array | null> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw notAFile(path, found.isDirectory(), error);
    return new Uint8Array(await readFile(path));
  } catch (problem) {
    return absent(problem, path, error);
  }
}

function notAFile(path: string, isFolder: boolean, error: ErrorClass = BundleError): Error {
  return new error(`'${path}' is a ${isFolder ? "folder" : "device or a pipe"}, not a file.`);
}

const WHY: Record<string, string> = { EACCES: "Permission denied", EIO: "Input/output error", EISDIR: "Is a directory" };

function absent(problem: unknown, path: string, error: ErrorClass): null {
  const code = (problem as NodeJS.ErrnoException).code;
  if (code === undefined) throw problem;
  if (code === "ENOENT" || code === "ENOTDIR") return null;
  throw new error(`'${path}' cannot be read: ${WHY[code] ?? code}.`);
}
