/** Texts to the text graph's inputs, through the bundle's `tokenizers` JSON. */

import type { Tokenizer } from "@huggingface/tokenizers";

import type { Tensor, Tensors } from "./engines/engine.js";
import { BackendError, BundleError, LabelError, reason } from "./errors.js";
import type { TextSpec } from "./format/manifest.js";
import { checkTokenizer } from "./format/tokenizer-file.js";
import { characters, quoted, repr, stripped } from "./text/pythonic.js";

const MIN_TOKENS = 2; // an exporter takes an axis of length 1 for one that is always 1
const MOST_LETTERS = 20_000; // of a text: no model reads more than some hundred tokens

interface Encoded {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

export class TextTokenizer {
  private constructor(
    private readonly tokenizer: Tokenizer,
    private readonly spec: TextSpec,
    private readonly isWhole: boolean,
    private readonly unknownId: number | null,
    /** Of any token that it gives. */
    readonly largestId: number,
  ) {}

  /**
   * @param data the `tokenizers` JSON.
   * @param path of it, for sentences.
   * @param isWhole do not cut texts to the specification's number of tokens.
   * @throws BackendError `@huggingface/tokenizers` is not installed.
   * @throws BundleError the file is not a tokenizer, or one with parts that are not run.
   */
  static async open(data: Uint8Array, path: string, spec: TextSpec, isWhole = false): Promise<TextTokenizer> {
    const { document, largestId, unknownId } = checkTokenizer(data, path);
    const library = await import("@huggingface/tokenizers").catch((error: unknown) => {
      throw new BackendError(
        `texts need @huggingface/tokenizers, which cannot be imported (${reason(error)}). Install it: npm install ` +
          "@huggingface/tokenizers; or use a saved label bank.",
      );
    });
    const tokenizer = running(`'${path}' is not a tokenizers JSON that is used`, () => new library.Tokenizer(document, {}));
    return new TextTokenizer(tokenizer, spec, isWhole, unknownId, Math.max(largestId, spec.pad_id));
  }

  /**
   * Tokenise texts; those that are too long are cut.
   *
   * @returns the manifest's inputs, each int64 `[texts, tokens]`, as long as the longest text.
   * @throws LabelError something that is no text, or a text without tokens.
   */
  tokens(texts: readonly string[]): Tensors {
    const { inputs, pad_id } = this.spec;
    const found = texts.map((text: unknown, row) => {
      if (typeof text !== "string" || !stripped(text)) throw new LabelError(`text ${row} is ${repr(text)}: pass words.`);
      const encoded = this.encode(text, `text ${row}`);
      if (encoded.ids.length === 0) throw new LabelError(`text ${row} (${quoted(text)}) has no token in this vocabulary.`);
      return encoded;
    });
    const length = Math.max(MIN_TOKENS, ...found.map(({ ids }) => ids.length));
    const filled = (values: (encoded: Encoded) => readonly number[], rest: number): Tensor => {
      const data = new BigInt64Array(found.length * length).fill(BigInt(rest));
      found.forEach((encoded, row) => values(encoded).forEach((value, i) => (data[row * length + i] = BigInt(value))));
      return { type: "int64", data, dims: [found.length, length] };
    };
    const all = {
      input_ids: () => filled(({ ids }) => ids, pad_id),
      attention_mask: () => filled(({ ids }) => ids.map(() => 1), 0),
      token_type_ids: () => filled(({ types }) => types, 0),
    };
    return Object.fromEntries(inputs.map((name) => [name, all[name]()]));
  }

  private encode(text: string, name: string): Encoded {
    const length = characters(text);
    if (length > MOST_LETTERS) {
      throw new LabelError(
        `${name} has ${length} characters: at most ${MOST_LETTERS} are read, and ${this.spec.max_tokens} tokens of them ` +
          "are used.",
      );
    }
    if (/\p{Cs}/u.test(text)) throw new LabelError(`${name} (${quoted(text)}) holds half of a character: pass words.`);
    return running("the tokenizer cannot be run", () => this.run(text + this.spec.suffix));
  }

  private run(text: string): Encoded {
    const { tokenizer, unknownId } = this;
    const around = tokenizer.post_processor;
    const process = (tokens: string[]): { tokens: string[]; token_type_ids?: number[] | undefined } =>
      around ? around.post_process(tokens, null, true) : { tokens };
    let own = tokenizer.tokenize(text);
    if (!this.isWhole) own = own.slice(0, Math.max(0, this.spec.max_tokens - process([]).tokens.length));
    const { tokens, token_type_ids } = process(own);
    const ids = tokens.map((token) => tokenizer.token_to_id(token) ?? unknownId ?? -1).filter((id) => id >= 0);
    return { ids, types: token_type_ids ?? ids.map(() => 0) };
  }
}

/** Whatever the library throws, in a sentence: it has no exceptions of its own. */
function running<T>(problem: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new BundleError(`${problem} (${reason(error)}). Export the bundle again.`);
  }
}
