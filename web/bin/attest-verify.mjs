#!/usr/bin/env node
// Judge bundles and transition proofs by the JavaScript implementation: web/lib/lines.js says what a line is.

import { createInterface } from "node:readline";
import { followLine, judgeLine } from "../lib/lines.js";

for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
  process.stdout.write(`${line.startsWith('{"transition"') ? followLine(line) : judgeLine(line)}\n`);
}
