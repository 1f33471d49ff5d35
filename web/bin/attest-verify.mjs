#!/usr/bin/env node
// Judge bundles by the JavaScript implementation: web/lib/lines.js says what a line is.

import { createInterface } from "node:readline";
import { judgeLine } from "../lib/lines.js";

for await (const line of createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY })) {
  process.stdout.write(`${judgeLine(line)}\n`);
}
