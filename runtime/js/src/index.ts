/** Inference with CLAP bundles and taggers; engines are in `clap-runtime/node` and `clap-runtime/web`. */

export type { AudioFile, Pcm, Recording, Source } from "./audio/recording.js";
export { readRecording } from "./audio/recording.js";
export { resample, Resampler } from "./audio/resampler.js";
export { Classifier, type ClassifierOptions, type Segment } from "./classifier.js";
export { type Policy, policyOf } from "./clips/policy.js";
export { Encoder, type EncoderOptions } from "./encoder.js";
export type { Engine, Session, Tensor, Tensors } from "./engines/engine.js";
export * from "./errors.js";
export { Bundle } from "./format/bundle.js";
export type { Manifest } from "./format/manifest.js";
export { type About, Head } from "./head.js";
export { LabelBank, type Names, parseLabels } from "./labels.js";
export { Events, type EventsOptions } from "./listening/events.js";
export { type Chunk, type Counts, Listener, type ListenerOptions } from "./listening/listener.js";
export { Rule, type RuleOptions } from "./listening/rule.js";
export type { Event } from "./listening/state.js";
export type { Mode, Prediction, RankingOptions } from "./scores.js";
export { FilesSource } from "./sources/files.js";
export { type Bytes, MemorySource } from "./sources/memory.js";
export type { BundleSource } from "./sources/source.js";
export { fetched, UrlSource } from "./sources/url.js";
export { Tagger, type TaggerOptions } from "./tagger.js";
