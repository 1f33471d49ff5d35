// Bundle what web/lib needs of the @noble packages into web/vendor/noble.js, the same bytes everywhere.
//
//     node tools/vendor.mjs           write the file, the licences and the table of vendor/README.md
//     node tools/vendor.mjs --print   print the file instead: a test compares it with the one committed

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const WEB = fileURLToPath(new URL("..", import.meta.url));
const PACKAGES = ["@noble/curves", "@noble/hashes", "@noble/post-quantum"];

const built = await build({
  absWorkingDir: WEB,
  entryPoints: ["tools/noble.entry.js"],
  bundle: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
  minify: true,
  charset: "utf8",
  write: false,
});
const bundled = built.outputFiles[0].contents;

if (process.argv.includes("--print")) {
  process.stdout.write(bundled);
} else {
  writeFileSync(`${WEB}vendor/noble.js`, bundled);
  const rows = PACKAGES.map((name) => {
    const { version, license } = JSON.parse(readFileSync(`${WEB}node_modules/${name}/package.json`, "utf8"));
    return `| ${name} | ${version} | ${license} |`;
  });
  const licences = PACKAGES.map((name) => {
    const text = readFileSync(`${WEB}node_modules/${name}/LICENSE`, "utf8").trimEnd();
    return `${name}\n${"=".repeat(name.length)}\n\n${text}\n`;
  });
  writeFileSync(`${WEB}vendor/noble.LICENSE`, licences.join("\n\n"));
  const digest = createHash("sha256").update(bundled).digest("hex");
  writeFileSync(
    `${WEB}vendor/README.md`,
    `# Vendored code

\`noble.js\` is what web/lib uses of these packages, bundled by esbuild and otherwise unchanged: SHA-2, the arithmetic of
edwards25519, and ML-DSA-44. Written by \`npm run vendor\` in web/; a test builds it again and compares.

| package | version | licence |
|---|---|---|
${rows.join("\n")}

| file | SHA-256 |
|---|---|
| \`noble.js\` | \`${digest}\` |

The licences in full: \`noble.LICENSE\`. \`noble.d.ts\` is ours: the types of what is exported.
`,
  );
}
