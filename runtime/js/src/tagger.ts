/** A classifier from one file, which `clap-export freeze` makes of a bundle and labels. */

import { Classifier } from "./classifier.js";
import { Encoder, type EncoderOptions } from "./encoder.js";
import { TaggerFile } from "./format/tagger-file.js";
import { Ranking, type RankingOptions } from "./scores.js";
import type { Bytes } from "./sources/memory.js";

export type TaggerOptions = EncoderOptions & Omit<RankingOptions, "scores">;

/** Scores recordings against the labels in its file; the kind of scores is the file's too. */
export class Tagger extends Classifier {
  /**
   * @param bytes null where there is no such file.
   * @param path of the file, for sentences.
   * @throws BundleError, SchemaError, LabelError no tagger that can be used.
   * @throws BackendError the engine is not available.
   * @throws ClapError an argument is out of range.
   */
  static async open(bytes: Bytes | null, options: TaggerOptions, path?: string): Promise<Tagger> {
    const file = await TaggerFile.open(bytes, path);
    const { scores, top_k } = file.frozen;
    const ranking = new Ranking(file.manifest, { ...options, scores, topK: options.topK ?? top_k }).ofLabels(file.bank.head);
    const encoder = new Encoder(file, options);
    await encoder.openAudio();
    return new Tagger(encoder, file.bank, ranking);
  }
}
