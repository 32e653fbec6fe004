/** Which windows of a recording are heard, and how one embedding is made of them. */

import { BundleError, ClapError } from "../errors.js";
import type { AudioSpec } from "../format/audio-spec.js";
import { sha256 } from "../format/sha256.js";
import { finite } from "../text/arguments.js";
import { float, quoted, repr, round, shown } from "../text/pythonic.js";
import { choice, flag, maybe, number, type Of, optional, record, text, whole } from "../text/schema.js";

const COUNTED = ["spaced", "past_intro", "head", "middle"];
const INTRO = 45; // seconds of a track that are passed over
const MOST_WINDOWS = 4096; // of a policy that counts them
const MOST_SECONDS = 3600; // between windows, in a manifest
const LONGEST_HOP = 2 ** 53; // samples: longer than any recording, so one window is left

/** What a checkpoint's own package does otherwise; the defaults are what is done here. */
export const QUIRKS = record({
  resampler: optional(choice("soxr", "torchaudio", "librosa"), () => "soxr" as const),
  channels: optional(choice("mean", "strung"), () => "mean" as const),
  always_longer: optional(flag, () => false),
  whole_texts: optional(flag, () => false),
});

export type Quirks = Of<typeof QUIRKS>;

export const NO_QUIRKS: Quirks = {
  resampler: "soxr", channels: "mean", always_longer: false, whole_texts: false,
};

export const POLICY = record(
  {
    name: text(255),
    windows: optional(choice("all", "spaced", "past_intro", "head", "middle", "fusion"), () => "all" as const),
    count: optional(maybe(whole(1, MOST_WINDOWS)), () => null),
    hop: optional(maybe(number(1e-6, MOST_SECONDS)), () => null),
    tail: optional(choice("aligned", "dropped", "filled"), () => "aligned" as const),
    pooling: optional(choice("mean", "raw_mean", "max", "energy"), () => "mean" as const),
    quirks: optional(QUIRKS, () => NO_QUIRKS),
  },
  contradiction,
);

/** How a recording becomes windows, and their embeddings one; the manifest's form. */
export type Policy = Of<typeof POLICY>;
export type Tail = Policy["tail"];
export type Pooling = Policy["pooling"];

interface Chosen {
  readonly windows: string;
  readonly count: number | null;
  readonly hop: number | null;
}

function contradiction(policy: Chosen): string | null {
  if ((policy.count === null) === COUNTED.includes(policy.windows)) {
    return (
      `windows=${quoted(policy.windows)} and count=${repr(policy.count)}: a count is for ` +
      `${COUNTED.map(quoted).join(", ")}, which need one`
    );
  }
  if (policy.hop !== null && ["spaced", "past_intro", "fusion"].includes(policy.windows)) {
    return `windows=${quoted(policy.windows)} have no hop, and it is ${float(policy.hop)}`;
  }
  return null;
}

/**
 * A policy of some fields; the others have their defaults.
 *
 * @throws ClapError fields that contradict each other.
 */
export function policyOf(fields: Partial<Policy>): Policy {
  const policy: Policy = {
    name: "own", windows: "all", count: null, hop: null, tail: "aligned", pooling: "mean", quirks: NO_QUIRKS,
    ...fields,
  };
  const problem = contradiction(policy);
  if (problem !== null) throw new ClapError(`${problem}.`);
  return policy;
}

/** The rule of bundles that name none. */
export function defaultPolicy(spec: AudioSpec): Policy {
  return policyOf({ name: "default", windows: spec.long_clips === "fusion" ? "fusion" : "all" });
}

/** Samples between the starts of windows, at least one. */
export function hopSamples(policy: Policy, spec: AudioSpec): number {
  if (policy.hop === null) return spec.hop_samples;
  return Math.max(1, round(Math.min(policy.hop * spec.sample_rate, LONGEST_HOP)));
}

/**
 * The policy of a timeline: all windows, with a hop in seconds; default the policy's.
 *
 * @throws ClapError hop is no positive time of at least one sample.
 */
export function timelinePolicy(policy: Policy, spec: AudioSpec, hop: number | null): Policy {
  const plain = { ...policy, windows: "all", count: null, tail: "aligned", pooling: "mean" } as const;
  if (hop === null) return plain;
  const wanted = "a positive number of seconds";
  const seconds = finite("hop", hop, wanted);
  if (seconds * spec.sample_rate < 1) throw new ClapError(`hop=${repr(hop)}: pass ${wanted}, at least one sample.`);
  return { ...plain, hop: seconds };
}

/** Whether windows can be chosen only when the length is known. */
export function needsTotal(policy: Policy): boolean {
  return ["spaced", "past_intro", "middle", "fusion"].includes(policy.windows);
}

/**
 * Where windows start, in samples; endless where only the recording's end ends them.
 *
 * @param total samples of the recording, for a policy that needs it.
 */
export function* starts(policy: Policy, spec: AudioSpec, total = 0): Generator<number> {
  const hop = hopSamples(policy, spec);
  if (policy.windows === "all" || policy.windows === "fusion") {
    for (let start = 0; ; start += hop) yield start;
  }
  const count = policy.count ?? 1;
  const last = Math.max(0, total - spec.window_samples);
  if (policy.windows === "spaced") {
    // From the first possible start to the last, rounded down; one alone is in the middle.
    if (count === 1) yield Math.floor(last / 2);
    let before = -1;
    for (let i = 0; count > 1 && i < count; i += 1) {
      const start = Math.floor((i * last) / (count - 1));
      if (start !== before) yield start;
      before = start;
    }
    return;
  }
  if (policy.windows === "past_intro") {
    const left = last - round(INTRO * spec.sample_rate);
    const gaps = Math.min(count - 1, Math.floor(left / spec.window_samples));
    if (left < 0) yield Math.floor(last / 2);
    for (let i = 0; left >= 0 && i <= gaps; i += 1) yield last - left + Math.floor((i * left) / Math.max(1, gaps));
    return;
  }
  const fitting = policy.windows === "head" ? count : Math.min(count, Math.floor(last / hop) + 1);
  const first = policy.windows === "head" ? 0 : Math.floor((last - (fitting - 1) * hop) / 2);
  for (let i = 0; i < fitting; i += 1) yield first + i * hop;
}

/** Hash of what defines the space of recordings' embeddings: the model's, and this policy. */
export async function clipSpaceId(policy: Policy, spaceId: string, spec: AudioSpec): Promise<string> {
  const { resampler, channels, always_longer } = policy.quirks;
  // As Python's json.dumps writes them, with sorted keys.
  const fields = [
    `"count": ${policy.count}`,
    `"hop": ${hopSamples(policy, spec)}`,
    `"pooling": "${policy.pooling}"`,
    `"quirks": {"always_longer": ${always_longer}, "channels": "${channels}", "resampler": "${resampler}"}`,
    `"tail": "${policy.tail}"`,
    `"windows": "${policy.windows}"`,
  ];
  const text = `[${ascii(spaceId)}, {${fields.join(", ")}}]`;
  return (await sha256(new TextEncoder().encode(text))).slice(0, 32);
}

function ascii(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const PRESETS: ReadonlyMap<string, Policy> = new Map(
  [
    policyOf({ name: "all" }),
    policyOf({ name: "head", windows: "head", count: 1 }),
    policyOf({ name: "middle", windows: "middle", count: 1 }),
    policyOf({ name: "spaced", windows: "spaced", count: 3 }),
    policyOf({ name: "loudest", pooling: "energy" }),
    policyOf({ name: "rare", pooling: "max" }),
    policyOf({ name: "back-to-back", tail: "dropped", pooling: "raw_mean" }),
    policyOf({ name: "past-intro", windows: "past_intro", count: 1, pooling: "raw_mean" }),
  ].map((policy) => [policy.name, policy]),
);
// Those that match an original package, by where they take their window: the packages draw it.
const FAITHFUL = { faithful: "head", "faithful-middle": "middle" } as const;

/** What a policy is chosen for. */
export interface ChosenFor {
  bundled: Policy;
  spec: AudioSpec;
  givesNorm: boolean;
  family: string;
}

/**
 * @param wanted a Policy; the name of a preset, with `:COUNT` for those that count windows; a name of a faithful
 * one; `default` or nothing for the bundle's.
 * @throws ClapError it is none of these.
 * @throws BundleError the bundle cannot follow it.
 */
export function chosenPolicy(wanted: unknown, bundle: ChosenFor): Policy {
  const policy = named(wanted, bundle);
  if (policy.pooling === "raw_mean" && !bundle.givesNorm) {
    throw new BundleError(
      `the policy '${policy.name}' pools vectors before they are scaled, and the audio graph of this older bundle ` +
        "does not give their norms. Export it again.",
    );
  }
  if (policy.windows === "fusion" && bundle.spec.long_clips !== "fusion") {
    throw new BundleError(
      `the policy '${policy.name}' hears long recordings by feature fusion, which this model does not have. Choose ` +
        "another.",
    );
  }
  return policy;
}

function named(wanted: unknown, { bundled, spec, family }: ChosenFor): Policy {
  if (wanted === undefined || wanted === null || wanted === "default") return bundled;
  if (typeof wanted === "object") return policyOf(wanted);
  if (wanted === "faithful" || wanted === "faithful-middle") {
    const fused = spec.long_clips === "fusion";
    const quirks = quirksOf(family, fused);
    if (fused) return policyOf({ name: wanted, windows: "fusion", quirks });
    return policyOf({ name: wanted, windows: FAITHFUL[wanted], count: 1, quirks });
  }
  const [name = "", count] = typeof wanted === "string" ? (wanted.match(/^([^:]*)(?::(.*))?$/s)?.slice(1) ?? []) : [];
  let preset = PRESETS.get(name);
  if (preset?.windows === "past_intro" && family === "msclap") {
    // The collections that it matches were made with torchaudio, of the mean of the channels.
    preset = { ...preset, quirks: { ...NO_QUIRKS, resampler: "torchaudio" } };
  }
  if (preset !== undefined && count === undefined) return preset;
  const counted = Number(count);
  if (preset && preset.count !== null && /^[0-9]{1,9}$/.test(count ?? "") && counted >= 1 && counted <= MOST_WINDOWS) {
    return { ...preset, name: `${name}:${counted}`, count: counted };
  }
  throw new ClapError(
    `windows=${shown(wanted)}: pass a Policy, 'default', or one of ` +
      `${[...PRESETS.keys(), ...Object.keys(FAITHFUL)].join(", ")}; those that count windows also as in 'spaced:3', ` +
      `with 1 to ${MOST_WINDOWS}.`,
  );
}

/**
 * What a family's own package does otherwise.
 *
 * @throws ClapError no such package is known.
 */
function quirksOf(family: string, fused: boolean): Quirks {
  if (family === "msclap") return { ...NO_QUIRKS, resampler: "torchaudio", channels: "strung", whole_texts: true };
  if (family === "laion") return { ...NO_QUIRKS, resampler: "librosa" };
  if (family === "transformers") {
    return { ...NO_QUIRKS, resampler: "librosa", always_longer: fused, whole_texts: true };
  }
  throw new ClapError(
    `windows='faithful': this model's family is '${family}', and there is no other package whose vectors could be ` +
      "matched. Choose 'default'.",
  );
}
