// Validate pages against the HTML standard: reads JSON {name: html}, prints JSON of what is wrong, a line each.

import { readFileSync } from "node:fs";
import { HtmlValidate, StaticConfigLoader } from "html-validate";

const validator = new HtmlValidate(
  new StaticConfigLoader({
    root: true,
    extends: ["html-validate:standard", "html-validate:document", "html-validate:a11y"],
    rules: { "no-dup-id": "error", "no-inline-style": "error", "require-sri": "off", "require-csp-nonce": "off" },
  }),
);

/** @type {string[]} */
const found = [];
for (const [name, html] of Object.entries(JSON.parse(readFileSync(0, "utf8")))) {
  const { results } = await validator.validateString(html, name);
  for (const { messages } of results) {
    for (const { line, ruleId, message, selector } of messages) {
      found.push(`${name}:${line} ${ruleId}: ${message} at ${selector}`);
    }
  }
}
process.stdout.write(JSON.stringify(found));
