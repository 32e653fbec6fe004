/** Questions of a conformance kit, one a line, and their answers. */

import type { Engine } from "../engines/engine.js";
import { ClapError } from "../errors.js";
import { type Files, Reader } from "./tasks.js";
import { type Plain, toWire } from "./wire.js";

export type { Files } from "./tasks.js";

interface Request {
  readonly id: string;
  readonly task: string;
  readonly kit: string;
  readonly input: Readonly<Record<string, Plain>>;
}

/** Answers lines; kits are told apart by their folder. */
export class Answers {
  private readonly readers = new Map<string, Reader>();

  constructor(
    private readonly files: Files,
    private readonly engine: Engine,
  ) {}

  /** The answer to one question, a line without its end. */
  async to(line: string): Promise<string> {
    const { id, task, kit, input } = JSON.parse(line) as Request;
    let reader = this.readers.get(kit);
    if (reader === undefined) this.readers.set(kit, (reader = new Reader(kit, this.files, this.engine)));
    try {
      return JSON.stringify({ id, outputs: toWire(await reader.answer(task, input)) });
    } catch (error) {
      if (!(error instanceof ClapError)) throw error;
      return JSON.stringify({ id, error: { code: error.code, message: error.message } });
    }
  }
}
