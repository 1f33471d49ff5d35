// Runs the cases of tests/vectors/bundle, in Node and in browsers.

import { utf8 } from "../lib/encoding.js";
import { verify } from "../lib/verify.js";

/**
 * Return the verdict of one case.
 * @param {any} c a case of cases.json
 * @param {(name: string) => Uint8Array} read a file beside it
 */
export function judge(c, read) {
  const { state_policy: statePolicy, max_age: maxAge, keepsake, ...question } = c.question;
  const asked = { ...question, statePolicy, maxAge, keepsake: keepsake === null ? null : read(keepsake) };
  return verify(bundleOf(c, read), asked);
}

function bundleOf(c, read) {
  if (c.raw !== null) return utf8(c.raw);
  const bundle = read(`${c.bundle}.bundle`);
  if (Object.keys(c.replace).length === 0) return bundle;
  return utf8(JSON.stringify({ ...JSON.parse(new TextDecoder().decode(bundle)), ...c.replace }));
}

/** Return what a case's verdict says other than it has to, or null. */
export function difference(c, read) {
  const verdict = judge(c, read);
  const said = Object.fromEntries(Object.keys(c.want).map((name) => [name, verdict[name]]));
  const [a, b] = [JSON.stringify(said), JSON.stringify(c.want)];
  return a === b ? null : `${c.desc}: ${a}, want ${b}`;
}
