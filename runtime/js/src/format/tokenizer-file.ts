/**
 * `tokenizer.json` is looked through before the library that runs it sees it: what the text encoders of CLAP need is
 * little, and it is listed here; the rest is refused by name.
 */

import { BundleError } from "../errors.js";
import { readJson, toOrdinary } from "../text/json.js";
import { printable } from "../text/plain-text.js";
import { characters, type Json, type JsonTable, quoted, repr } from "../text/pythonic.js";

const MOST_BYTES = 64 << 20;
const MOST_TOKENS = 1 << 20;
const MOST_ID = 1 << 24;
const MOST_STEPS = 16; // of a list of normalizers, pre-tokenizers or parts of a template
const MOST_LETTERS = 512; // of one token
const MOST_LETTERS_OF_A_WORD = 200; // WordPiece's time is the square of this
// Of GPT-2, CLIP and Llama 3: patterns that are known to end.
const PATTERNS = new Set([
  String.raw`\s+`,
  String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
  String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` +
    String.raw`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
]);
const PARTS = ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model"];
const NORMALIZERS =
  "BertNormalizer NFC NFD NFKC NFKD Lowercase Strip StripAccents Replace Prepend Sequence".split(" ");
const PRE_TOKENIZERS =
  "BertPreTokenizer ByteLevel Whitespace WhitespaceSplit Punctuation Digits Split Sequence".split(" ");
const POST_PROCESSORS = "TemplateProcessing BertProcessing RobertaProcessing ByteLevel Sequence".split(" ");
const MODELS = "BPE WordLevel WordPiece".split(" ");

/** A tokenizer that may be run. */
export interface TokenizerFile {
  /** For the library, without its own padding, truncation and decoder. */
  readonly document: Readonly<Record<string, unknown>>;
  /** Of any token. */
  readonly largestId: number;
  /** Of the token that stands for what is not in the vocabulary. */
  readonly unknownId: number | null;
}

/** Why a file is refused. */
class Bad extends Error {}

/**
 * Look through a `tokenizers` JSON.
 *
 * @throws BundleError it is none, or has parts that no text encoder here needs.
 */
export function checkTokenizer(data: Uint8Array, path: string): TokenizerFile {
  const where = `'${path}' is not a tokenizers JSON that is used: it`;
  if (data.length > MOST_BYTES) throw new BundleError(`${where} has ${data.length} bytes, at most ${MOST_BYTES} are read.`);
  const found = readJson(data, where, BundleError);
  try {
    return tokenizer(table(found, "the document"));
  } catch (problem) {
    if (!(problem instanceof Bad)) throw problem;
    throw new BundleError(
      `'${path}' is not a tokenizers JSON that is used: ${printable(problem.message)}. Export the bundle again.`,
    );
  }
}

function tokenizer(found: JsonTable): TokenizerFile {
  const model = table(found.get("model"), "model");
  const vocabulary = vocabularyOf(model);
  const given = found.get("added_tokens");
  const added = list(given === null || given === undefined ? [] : given, "added_tokens", MOST_TOKENS);
  let largestId = 0;
  const seen = (id: number): void => {
    largestId = Math.max(largestId, id);
  };
  for (const id of vocabulary.values()) seen(id as number);
  for (const token of added) seen(addedId(table(token, "added_tokens")));
  chain(found.get("normalizer"), "normalizer", NORMALIZERS, normalizer);
  chain(found.get("pre_tokenizer"), "pre_tokenizer", PRE_TOKENIZERS, preTokenizer);
  chain(found.get("post_processor"), "post_processor", POST_PROCESSORS, (step) => postProcessor(step).forEach(seen));
  if (vocabulary.size === 0) throw new Bad("its vocabulary is empty");
  const kept = PARTS.map((part): [string, unknown] => [part, toOrdinary(found.get(part) ?? null)]);
  const unknown = model.get("unk_token");
  const unknownId = typeof unknown === "string" ? vocabulary.get(unknown) : undefined;
  return {
    document: { version: "1.0", decoder: null, ...Object.fromEntries(kept), added_tokens: toOrdinary(added) },
    largestId,
    unknownId: typeof unknownId === "number" ? unknownId : null,
  };
}

function vocabularyOf(model: JsonTable): JsonTable {
  const kind = model.get("type") ?? (model.has("merges") ? "BPE" : null);
  if (!MODELS.includes(text(kind, "type of model", MOST_LETTERS))) {
    throw new Bad(`its model ${repr(kind)} is not one of ${MODELS.join(", ")}`);
  }
  const vocabulary = table(model.get("vocab"), "model.vocab");
  if (vocabulary.size > MOST_TOKENS) throw new Bad(`its vocabulary has ${vocabulary.size} tokens`);
  for (const [token, id] of vocabulary) {
    if (typeof id !== "number" || id < 0 || id >= MOST_ID) throw new Bad("its vocabulary holds ids that are none");
    if (token.length > MOST_LETTERS && characters(token) > MOST_LETTERS) {
      throw new Bad(`it has tokens of more than ${MOST_LETTERS} letters`);
    }
  }
  for (const key of ["unk_token", "continuing_subword_prefix", "end_of_word_suffix"]) {
    const value = model.get(key);
    if (value !== null && value !== undefined) text(value, `model.${key}`, MOST_LETTERS);
  }
  if (kind === "WordPiece") whole(model.get("max_input_chars_per_word"), "words", 1, MOST_LETTERS_OF_A_WORD);
  if (kind === "BPE") {
    if (model.get("dropout")) throw new Bad("it leaves merges to chance (dropout)");
    const merges = list(model.get("merges"), "model.merges", MOST_TOKENS);
    const isPair = (merge: Json) => Array.isArray(merge) && merge.length === 2 && merge.every((m) => typeof m === "string");
    if (!merges.every((merge) => typeof merge === "string" || isPair(merge))) throw new Bad("a merge is not one of two tokens");
  }
  return vocabulary;
}

function addedId(token: JsonTable): number {
  if (!text(token.get("content"), "an added token", MOST_LETTERS)) throw new Bad("an added token is empty");
  return whole(token.get("id"), "the id of an added token", 0, MOST_ID);
}

/** A step, or a sequence of them, which has no sequences inside. */
function chain(part: Json | undefined, where: string, known: string[], look: (step: JsonTable) => void): void {
  if (part === null || part === undefined) return;
  let steps = [table(part, where)];
  if (steps[0]?.get("type") === "Sequence") {
    const inside = Array.from(steps[0]).find(([key]) => [`${where}s`, "pretokenizers", "processors"].includes(key));
    steps = list(inside?.[1], where, MOST_STEPS).map((step) => table(step, where));
    known = known.filter((name) => name !== "Sequence");
  }
  for (const step of steps) {
    const kind = text(step.get("type"), `type of ${where}`, MOST_LETTERS);
    if (!known.includes(kind)) throw new Bad(`its ${where} ${quoted(kind)} is not one of ${known.toSorted().join(", ")}`);
    look(step);
  }
  // Each of these writes a byte beyond ASCII as two.
  if (steps.filter((step) => step.get("type") === "ByteLevel").length > 1) {
    throw new Bad(`its ${where} turns bytes into letters more than once`);
  }
}

function normalizer(step: JsonTable): void {
  if (step.get("type") === "Replace") {
    const found = pattern(step.get("pattern"));
    if (text(step.get("content"), "a replacement", MOST_LETTERS).length > found.length) {
      throw new Bad("a normalizer replaces text by longer text");
    }
  }
  if (step.get("type") === "Prepend") text(step.get("prepend"), "what is put before a text", 8);
}

function preTokenizer(step: JsonTable): void {
  if (step.get("type") === "Split") pattern(step.get("pattern"));
}

/** The shortest text that a pattern finds, or one as long. */
function pattern(found: Json | undefined): string {
  const keys = table(found, "a pattern");
  if (keys.size === 1 && keys.has("String")) {
    const exact = text(keys.get("String"), "a pattern", MOST_LETTERS);
    if (exact) return exact;
  }
  if (keys.size === 1 && keys.has("Regex") && PATTERNS.has(text(keys.get("Regex"), "a pattern", 1000))) return " ";
  throw new Bad(`its pattern ${quoted(repr(keys).slice(0, 80))} is not one of those that are known to end`);
}

/** Ids of the special tokens that it puts around a text. */
function postProcessor(step: JsonTable): number[] {
  const type = step.get("type");
  if (type === "BertProcessing" || type === "RobertaProcessing") {
    const pairs = ["sep", "cls"].map((key) => list(step.get(key), `post_processor.${key}`, 2));
    if (pairs.some((pair) => pair.length !== 2 || typeof pair[0] !== "string")) {
      throw new Bad("its post_processor does not name its special tokens");
    }
    return pairs.map((pair) => whole(pair[1], "the id of a special token", 0, MOST_ID));
  }
  return type === "TemplateProcessing" ? template(step) : [];
}

function template(step: JsonTable): number[] {
  const special = table(step.get("special_tokens") || new Map<string, Json>(), "special_tokens");
  if (special.size > MOST_STEPS) throw new Bad(`its template has ${special.size} special tokens`);
  const ids: number[] = [];
  for (const token of special.values()) {
    const entry = table(token, "special_tokens");
    const own = list(entry.get("ids"), "special_tokens.ids", MOST_STEPS);
    if (own.length !== list(entry.get("tokens"), "special_tokens.tokens", MOST_STEPS).length) {
      throw new Bad("its template's special tokens have other numbers of ids than of names");
    }
    ids.push(...own.map((id) => whole(id, "the id of a special token", 0, MOST_ID)));
  }
  for (const [key, wanted] of [["single", ["A"]], ["pair", ["A", "B"]]] as const) {
    const pieces = list(step.get(key) || [], key, MOST_STEPS).map((piece) => table(piece, key));
    const of = (name: string) => pieces.filter((p) => p.size === 1 && p.has(name)).map((p) => p.get(name));
    const [named, texts] = [of("SpecialToken"), of("Sequence")];
    if (named.length + texts.length !== pieces.length) throw new Bad(`its template '${key}' has pieces of another kind`);
    if (named.some((name) => !special.has(nameOf(name, key)))) {
      throw new Bad(`its template '${key}' names a special token that is not described`);
    }
    const found = texts.map((piece) => nameOf(piece, key));
    if ((pieces.length > 0 || key === "single") && found.toSorted().join() !== wanted.join()) {
      throw new Bad(`its template '${key}' does not hold every text once`);
    }
    for (const piece of [...named, ...texts]) whole(table(piece, key).get("type_id"), "type_id", 0, 1);
  }
  return ids;
}

function nameOf(piece: Json | undefined, where: string): string {
  return text(table(piece, where).get("id"), `an id of template '${where}'`, MOST_LETTERS);
}

function table(value: Json | undefined, where: string): JsonTable {
  if (!(value instanceof Map)) throw new Bad(`${where} is not a table`);
  return value;
}

function list(value: Json | undefined, where: string, most: number): Json[] {
  if (!Array.isArray(value) || value.length > most) throw new Bad(`${where} is not a list of at most ${most}`);
  return value;
}

function text(value: Json | undefined, where: string, most: number): string {
  if (typeof value !== "string" || (value.length > most && characters(value) > most)) {
    throw new Bad(`${where} is not a text of at most ${most} characters`);
  }
  return value;
}

function whole(value: Json | undefined, where: string, low: number, high: number): number {
  if (typeof value !== "number" || value < low || value > high) {
    throw new Bad(`${where}: a number from ${low} to ${high} is needed`);
  }
  return value;
}
