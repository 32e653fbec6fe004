#!/usr/bin/env node
/** `clap-conformance`: answers a conformance kit's questions from stdin on stdout, as long as any come. */

import { createInterface } from "node:readline";

import { NodeEngine } from "../engines/node.js";
import { BundleError } from "../errors.js";
import { FolderSource, readBytes } from "../sources/folder.js";
import { Answers } from "./reader.js";

const files = { read: (path: string) => readBytes(path, BundleError), bundle: (path: string) => new FolderSource(path) };
// One thread: sums of several may differ from run to run.
const answers = new Answers(files, new NodeEngine({ threads: 1 }));

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim()) process.stdout.write(`${await answers.to(line)}\n`);
}
