/** A microphone whose samples go from the audio thread to a worker, past the page's main thread. */

import { AudioError, reason } from "../errors.js";
import type { ListenOptions } from "./protocol.js";
import type { RemoteClassifier } from "./remote.js";

export interface MicrophoneOptions extends Omit<ListenOptions, "rate"> {
  /** Where `clap-runtime/worklet` is. */
  readonly worklet: string | URL;
  /** Of `navigator.mediaDevices`; default the browser's. */
  readonly deviceId?: string;
}

export class Microphone {
  private constructor(
    private readonly context: AudioContext,
    private readonly media: MediaStream,
    private readonly classifier: RemoteClassifier,
    /** The microphone, for meters and pictures. */
    readonly node: AudioNode,
  ) {}

  /**
   * Begin to listen; the classifier's `onheard` is told what is heard.
   *
   * @throws AudioError there is no microphone, or it may not be used.
   */
  static async open(classifier: RemoteClassifier, options: MicrophoneOptions): Promise<Microphone> {
    const { worklet, deviceId, ...listening } = options;
    const media = await request(deviceId);
    const context = new AudioContext(); // at the device's own rate: what changes it is ours
    try {
      await context.audioWorklet.addModule(worklet);
      await context.resume();
      const source = context.createMediaStreamSource(media);
      const node = new AudioWorkletNode(context, "clap-microphone", { numberOfOutputs: 0 });
      const { port1, port2 } = new MessageChannel();
      await classifier.listen(port2, { ...listening, rate: context.sampleRate });
      node.port.postMessage(port1, [port1]);
      source.connect(node);
      return new Microphone(context, media, classifier, source);
    } catch (error) {
      media.getTracks().forEach((track) => track.stop());
      await context.close();
      throw error;
    }
  }

  get sampleRate(): number {
    return this.context.sampleRate;
  }

  /** End it; what is open is told before. */
  async close(): Promise<void> {
    this.media.getTracks().forEach((track) => track.stop());
    await this.context.close();
    await this.classifier.stop();
  }
}

async function request(deviceId: string | undefined): Promise<MediaStream> {
  const devices = (navigator as { mediaDevices?: MediaDevices }).mediaDevices;
  if (devices === undefined) {
    throw new AudioError("this page may not use a microphone: serve it by https, or from localhost.");
  }
  try {
    // What is made for speech takes other sounds away.
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return await devices.getUserMedia({ audio: { ...plain, ...(deviceId === undefined ? {} : { deviceId }) } });
  } catch (error) {
    throw new AudioError(`the microphone cannot be used (${reason(error)}).`);
  }
}
