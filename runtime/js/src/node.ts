/** What only Node has: folders, files, and its own engine. */

import { AudioError, BundleError, LabelError } from "./errors.js";
import type { AudioFile } from "./audio/recording.js";
import { Bundle } from "./format/bundle.js";
import { LabelBank } from "./labels.js";
import { FolderSource, readBytes } from "./sources/folder.js";
import { Tagger, type TaggerOptions } from "./tagger.js";
import { printable } from "./text/plain-text.js";

export { NodeEngine, type NodeOptions } from "./engines/node.js";
export { FolderSource } from "./sources/folder.js";

/** A bundle in a folder. */
export function openBundle(folder: string, options: { checkHashes?: boolean } = {}): Promise<Bundle> {
  return Bundle.open(new FolderSource(folder), options);
}

/**
 * A tagger's file.
 *
 * @throws BundleError it is missing, or no tagger that can be used.
 */
export async function openTagger(path: string, options: TaggerOptions): Promise<Tagger> {
  return Tagger.open(await readBytes(path, BundleError), options, path);
}

/**
 * A saved label bank or head.
 *
 * @throws LabelError it is missing, or no label bank that can be used.
 */
export async function openBank(path: string): Promise<LabelBank> {
  return LabelBank.load(await readBytes(path, LabelError), path);
}

/**
 * A WAV file on the disk, as a source.
 *
 * @throws AudioError it cannot be read.
 */
export async function openAudio(path: string): Promise<AudioFile> {
  const name = `'${printable(path)}'`;
  const bytes = await readBytes(path, AudioError);
  if (bytes === null) throw new AudioError(`${name} does not exist. Check the path.`);
  return { bytes, name };
}
