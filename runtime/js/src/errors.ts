/** The one family of exceptions: what a user can mend, said in one sentence. */

/** What kind of input was bad; the same in every language. */
export type Code = "argument" | "schema" | "bundle" | "audio" | "label" | "backend";

/** Bad input: the message says what was asked, what was found and what to do. */
export class ClapError extends Error {
  readonly code: Code = "argument";
  override name = "ClapError";
}

/** A document has unknown, missing or wrongly typed keys; all are listed. */
export class SchemaError extends ClapError {
  override readonly code = "schema";
  override name = "SchemaError";
}

/** A bundle is missing, damaged, of another version, or of another embedding space. */
export class BundleError extends ClapError {
  override readonly code = "bundle";
  override name = "BundleError";
}

/** A recording cannot be used: missing, undecodable, empty, not finite, too long. */
export class AudioError extends ClapError {
  override readonly code = "audio";
  override name = "AudioError";
}

/** Labels cannot be used: none given, duplicates, an unreadable file, an ill-formed template. */
export class LabelError extends ClapError {
  override readonly code = "label";
  override name = "LabelError";
}

/** The engine that was asked for is not to be had here, or failed. */
export class BackendError extends ClapError {
  override readonly code = "backend";
  override name = "BackendError";
}

export type ErrorClass = new (message: string, options?: ErrorOptions) => ClapError;

const FAMILY: Record<Code, ErrorClass> = {
  argument: ClapError,
  schema: SchemaError,
  bundle: BundleError,
  audio: AudioError,
  label: LabelError,
  backend: BackendError,
};

/** An error as it travels between threads. */
export interface PlainError {
  code: Code | "bug";
  message: string;
}

export function toPlain(error: unknown): PlainError {
  if (error instanceof ClapError) return { code: error.code, message: error.message };
  return { code: "bug", message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
}

export function fromPlain({ code, message }: PlainError): Error {
  return code === "bug" ? new Error(message) : new FAMILY[code](message);
}

/** What a thrown value says of itself. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
