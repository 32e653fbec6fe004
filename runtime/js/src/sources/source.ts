/** Where the files of a bundle come from. */

export interface BundleSource {
  /** Of the bundle, for sentences. */
  readonly name: string;
  /** How many bytes a file has; null where there is none, undefined where only reading tells. */
  size(file: string): Promise<number | null | undefined>;
  /**
   * A file's bytes, read once; null where there is none.
   *
   * @throws BundleError it cannot be read.
   */
  read(file: string): Promise<Uint8Array | null>;
}
