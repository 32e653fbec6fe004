/** What only browsers have: a worker for all that computes, the microphone, and their decoders and engine. */

export { decodeFile } from "./browser/decoding.js";
export { Microphone, type MicrophoneOptions } from "./browser/microphone.js";
export type { From, Heard, ListenOptions, Opened, OpenOptions, Predicted } from "./browser/protocol.js";
export { RemoteClassifier } from "./browser/remote.js";
export { WebEngine, type WebOptions } from "./engines/web.js";
export { rateOf } from "./audio/headers.js";
