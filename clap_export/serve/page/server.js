/** What the page asks of the server. Addresses are relative: the service may lie behind a path. */

/** The server refused, in its own sentence. */
export class Refused extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Server {
  /** @type {string} of the API, or empty; it is kept nowhere but here */
  key = "";

  /** The model and what is taken. */
  space() {
    return this.#ask("v1/space");
  }

  /**
   * Embeddings of labels, one each, put through the model's prompt.
   *
   * @param {string[]} labels
   * @returns {Promise<Float32Array[]>}
   */
  async labels(labels) {
    const body = JSON.stringify({ texts: labels, labels: true, encoding: "base64" });
    const found = await this.#ask("v1/embed/text", body, { "content-type": "application/json" });
    return rows(found.embeddings, found.dimensions);
  }

  /**
   * The labels that are kept under a name, and their embeddings.
   *
   * @param {string} name
   * @param {number} dimensions
   * @returns {Promise<{ names: string[], rows: Float32Array[] }>}
   */
  async bank(name, dimensions) {
    const found = await this.#ask(`v1/banks/${name}?embeddings=true`);
    return { names: found.labels, rows: rows(found.embeddings, dimensions) };
  }

  /**
   * A recording's windows, each with its times in seconds and its embedding.
   *
   * @param {Blob} recording
   * @param {number | null} hop seconds between windows, or the model's own
   * @param {AbortSignal} signal
   */
  async recording(recording, hop, signal) {
    const query = new URLSearchParams({ each_window: "true" });
    if (hop !== null) query.set("hop", String(hop));
    const found = await this.#ask(`v1/embed/audio?${query}`, recording, { "content-type": "application/octet-stream" }, signal);
    const { start, end, embeddings } = found.windows;
    return { start, end, rows: rows(embeddings, found.dimensions), warning: found.warning ?? null };
  }

  /** @param {string} path @param {BodyInit} [body] @param {Record<string, string>} [headers] @param {AbortSignal} [signal] */
  async #ask(path, body, headers = {}, signal) {
    const key = this.key ? { authorization: `Bearer ${this.key}` } : {};
    const method = body === undefined ? "GET" : "POST";
    let answer;
    try {
      answer = await fetch(path, { method, body, headers: { ...headers, ...key }, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Refused(0, "The server cannot be reached.");
    }
    const found = await answer.json().catch(() => null);
    if (!answer.ok || found === null) {
      throw new Refused(answer.status, found?.error?.message ?? `The server answered ${answer.status}.`);
    }
    return found;
  }
}

/**
 * @param {string} base64 of little-endian float32
 * @param {number} width of a row
 */
function rows(base64, width) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const values = new Float32Array(bytes.buffer);
  return Array.from({ length: values.length / width }, (_, i) => values.subarray(i * width, (i + 1) * width));
}
