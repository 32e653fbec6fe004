/** The labels that are being written, and their embeddings, which the server is asked for once each. */

const PAUSE = 250; // ms without a key, before the server is asked

export class Labels {
  /** @type {Map<string, Float32Array>} */
  #known = new Map();
  #turn = 0;
  #timer = 0;

  /** Names with embeddings, in the order in which they are written. @type {string[]} */
  names = [];

  /**
   * @param {import("./server.js").Server} server
   * @param {number} most texts of one request
   * @param {(error: Error | null) => void} changed called when `names` is another, or cannot be
   */
  constructor(server, most, changed) {
    this.server = server;
    this.most = most;
    this.changed = changed;
  }

  get rows() {
    return this.names.map((name) => /** @type {Float32Array} */ (this.#known.get(name)));
  }

  /** What stands in the field now. @param {string} text */
  write(text) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.use(text), PAUSE);
  }

  /** Labels that are known already. @param {string[]} names @param {Float32Array[]} rows */
  take(names, rows) {
    names.forEach((name, place) => this.#known.set(name, rows[place]));
    this.names = names;
    this.changed(null);
  }

  /** @param {string} text */
  async use(text) {
    const turn = ++this.#turn;
    const names = [...new Set(text.split("\n").map((line) => line.trim()).filter(Boolean))];
    const unknown = names.filter((name) => !this.#known.has(name));
    try {
      for (let i = 0; i < unknown.length; i += this.most) {
        const part = unknown.slice(i, i + this.most);
        const rows = await this.server.labels(part);
        part.forEach((name, place) => this.#known.set(name, rows[place]));
      }
    } catch (error) {
      if (turn === this.#turn) this.changed(/** @type {Error} */ (error));
      return;
    }
    if (turn !== this.#turn) return; // newer ones are on their way
    this.names = names;
    this.changed(null);
  }
}
