/** What a bundle's manifest says, read strictly; docs/bundle-format.md is the specification. */

import { type Policy, POLICY, defaultPolicy } from "../clips/policy.js";
import { BundleError, SchemaError } from "../errors.js";
import { readJson } from "../text/json.js";
import { Float, type Json, type JsonTable, quoted, shownValue, stripped, tuple } from "../text/pythonic.js";
import { choice, flag, list, maybe, number, type Of, read, record, table, text, whole, words } from "../text/schema.js";
import { AUDIO_SPEC, COUNT } from "./audio-spec.js";
import { ENGINES } from "./engines.js";

export const FORMAT = "clap-export-bundle";
export const FORMAT_VERSION = 4;
const OLDER_VERSION = 3; // without a policy of its own, and with an audio graph that gives no norms
export const MANIFEST = "manifest.json";
export const MOST_MANIFEST = 4 << 20; // bytes
export const MOST_LETTERS = 1000; // of a template

const NAME = text(255);
const PROSE = text(4096);
const MEASURED = number(-Infinity, Infinity, true);
const BIAS = number(-1e6, 1e6);
const PRECISION = choice("fp32", "fp16", "int8", "bf16", "int8+bf16");

const TEXT_SPEC = record(
  {
    tokenizer: NAME,
    max_tokens: COUNT,
    pad_id: whole(0, 2 ** 24),
    inputs: list(choice("input_ids", "attention_mask", "token_type_ids")),
    suffix: NAME,
  },
  ({ max_tokens, inputs }) =>
    inputs.includes("input_ids")
      ? null
      : `max_tokens=${max_tokens}, inputs=${tuple(inputs)}: there must be at least one token, and 'input_ids' among ` +
        "the inputs",
);

const GRAPH = record({ file: NAME, precision: PRECISION, opset: whole(1, 1000) });
const FILE_ENTRY = record({ sha256: NAME, bytes: whole(0, 2 ** 40) });
const CHECK = record({ name: NAME, value: MEASURED, limit: MEASURED, unit: NAME, passed: flag });
const CANDIDATE = record({
  precision: PRECISION, provider: NAME, single: MEASURED, batched: MEASURED, chosen: flag,
});

const FIELDS = {
  format: words,
  format_version: whole(),
  name: NAME,
  source: record({ family: NAME, checkpoint: PROSE, sha256: NAME, licence: PROSE }),
  space_id: NAME,
  embedding_dim: COUNT,
  logit_scale: number(1e-6, 1e6),
  calibration: maybe(record({ scale: BIAS, bias: BIAS })),
  default_template: text(MOST_LETTERS),
  audio: AUDIO_SPEC,
  policy: POLICY,
  text: maybe(TEXT_SPEC),
  audio_graph: GRAPH,
  text_graph: maybe(GRAPH),
  files: table(NAME, FILE_ENTRY),
  tools: table(NAME, NAME),
  findings: list(record({ name: NAME, detail: PROSE })),
  parity: maybe(record({ passed: flag, provider: NAME, checks: list(CHECK) })),
  race: list(CANDIDATE),
  engines: maybe(ENGINES),
};

const KIND = record(FIELDS, ({ default_template, space_id, text: spec, text_graph, engines }) => {
  if (default_template.split("{}").length !== 2) {
    return `default_template ${quoted(default_template)} must hold one {}`;
  }
  if (!stripped(space_id)) return "space_id is empty: it says which label banks belong to the model";
  const hasText = spec !== null;
  if (hasText !== (text_graph !== null) || (engines !== null && hasText !== (engines.text !== null))) {
    return "'text' and 'text_graph', and 'text' of 'engines' if there are any, must all be null or none of them";
  }
  return null;
});

export type Manifest = Of<typeof KIND>;
export type Graph = Of<typeof GRAPH>;
export type TextSpec = Of<typeof TEXT_SPEC>;
export type FileEntry = Of<typeof FILE_ENTRY>;

/** Whether the audio graph gives norms, of which the encoder's raw vectors are made. */
export function givesNorm(manifest: Manifest): boolean {
  return manifest.format_version > OLDER_VERSION;
}

/**
 * How texts are prepared, and the graph that embeds them.
 *
 * @throws BundleError the bundle has none: it is used with label banks alone.
 */
export function textEncoder({ text: spec, text_graph: graph }: Manifest): { spec: TextSpec; graph: Graph } {
  if (spec !== null && graph !== null) return { spec, graph };
  throw new BundleError(
    "there is no text encoder here, so labels must come as a saved bank (.npz), which the whole bundle makes: clap-export " +
      "labels BUNDLE FILE -o bank.npz",
  );
}

/** The family of a manifest's source: older ones say which of msclap's two models it is. */
export function family(manifest: Manifest): string {
  return manifest.source.family.startsWith("msclap-") ? "msclap" : manifest.source.family;
}

/**
 * @param path of the manifest, for sentences.
 * @throws BundleError not JSON, not a bundle's manifest, or another format version.
 * @throws SchemaError keys that do not fit the schema.
 */
export function parseManifest(path: string, data: Uint8Array): Manifest {
  const found = readJson(data, path, BundleError);
  const keys: JsonTable = found instanceof Map ? found : new Map<string, Json>();
  if (keys.get("format") !== FORMAT) {
    throw new BundleError(`${path} is not the manifest of a clap-export bundle ('format' differs).`);
  }
  const stated = keys.get("format_version");
  const version = stated instanceof Float ? stated.value : stated; // 4.0 is the version, and of the wrong type
  if (version !== OLDER_VERSION && version !== FORMAT_VERSION) {
    throw new BundleError(
      `${path} has format_version ${shownValue(stated)}; this runtime reads ${OLDER_VERSION} and ${FORMAT_VERSION}. ` +
        "Export it again, or install the runtime that wrote it.",
    );
  }
  try {
    if (version === FORMAT_VERSION) return read(KIND, keys, path);
    if (keys.has("policy")) throw new SchemaError(`${path}: unknown key 'policy' in format_version ${version}`);
    const older = read(KIND, new Map([...keys, ["policy", new Map([["name", "default"]])]]), path);
    const policy: Policy = defaultPolicy(older.audio);
    return { ...older, policy };
  } catch (error) {
    if (!(error instanceof SchemaError)) throw error;
    throw new SchemaError(`${error.message}. Export it again, or mend the manifest.`);
  }
}
