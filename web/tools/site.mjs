// Build what pages load and nobody writes by hand: the same bytes everywhere.
//
//     node tools/site.mjs                   write vendor/qr.js, its licence, and dist/
//     node tools/site.mjs --print FILE      print one of them instead: a test compares it with the one committed

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const WEB = fileURLToPath(new URL("..", import.meta.url));

const FILES = {
  // QR codes, for certificates on paper.
  "vendor/qr.js": { contents: 'export { generate } from "lean-qr";', format: "esm" },
  // The one script of a page. Classic, so that a page from disk may run it: modules may not be loaded from there.
  "dist/site.js": { contents: 'import "./static/site.js";', format: "iife" },
  "dist/entry.js": { contents: 'import "./static/entry.js"; import "./static/site.js";', format: "iife" },
  "dist/lookup.js": { contents: 'import "./static/lookup.js"; import "./static/site.js";', format: "iife" },
  "dist/verify.js": { contents: 'import "./static/verify.js"; import "./static/site.js";', format: "iife" },
};

/** @param {string} name */
async function made(name) {
  const { contents, format } = FILES[name];
  const built = await build({
    absWorkingDir: WEB,
    stdin: { contents, resolveDir: WEB },
    bundle: true,
    format,
    target: "es2022",
    legalComments: "inline",
    minify: true,
    charset: "utf8",
    write: false,
  });
  return built.outputFiles[0].contents;
}

const [flag, only] = process.argv.slice(2);
if (flag === "--print") {
  process.stdout.write(await made(only));
} else {
  mkdirSync(`${WEB}dist`, { recursive: true });
  for (const name of Object.keys(FILES)) writeFileSync(WEB + name, await made(name));
  writeFileSync(`${WEB}vendor/qr.LICENSE`, readFileSync(`${WEB}node_modules/lean-qr/LICENSE`));
}
