// What web/lib uses of the @noble packages, and nothing else: web/tools/vendor.mjs bundles it into web/vendor/noble.js.
export { mulAddUnsafe } from "@noble/curves/abstract/curve.js";
export { ed25519 } from "@noble/curves/ed25519.js";
export { sha256, sha512 } from "@noble/hashes/sha2.js";
export { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
