"""What the log signs about single entries with its receipts key: promises, refusals and COSE receipts.

    promise   COSE_Sign1, payload {"kind": "promise/1", "entry": leaf, "by": time}
    refusal   COSE_Sign1, payload {"kind": "refusal/1", "entry": leaf, "code": text, "rows": [uint], "position": uint}
    receipt   COSE_Sign1 over a detached root, with the inclusion proof in its unprotected header (RFC 9942)

Receipts are an export for other tools; our own verifier reads `.tlog-proof`.

Spec: docs/spec/http.md; RFC 9942; RFC 9052 §7.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from attest.crypto import keys
from attest.encoding import Hash, decode_cbor, encode_cbor
from attest.errors import Malformed, Refuted
from attest.formats.statement import ALG_ED25519, Signer, issuer_of
from attest.merkle.tree import root_from_inclusion

MAX_RECEIPT: Final = 65_536  # bytes
MAX_KEYS: Final = 64
RECEIPT_TYP: Final = "application/scitt-receipt+cose"
TREE_SIZE: Final = -70001  # CWT claim, private use: RFC 9942 leaves the tree size unauthenticated
RFC9162_SHA256: Final = 1

_TAG: Final = b"\xd2"
_CODE: Final = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
_OKP, _ED25519_CURVE = 1, 6


@dataclass(frozen=True, slots=True)
class Promise:
    """The log's word that by the time `by` the entry is in a published checkpoint, or a refusal is served."""

    CONTENT_TYPE: ClassVar[str] = "application/vnd.attest.promise+cbor"
    origin: str
    issued_at: int
    kid: Hash
    entry: Hash  # leaf hash
    by: int
    encoded: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a promise; `verify` checks its signature. Raises `Malformed`: `receipt/…`, `cbor/…`."""
        origin, issued_at, kid, payload = _open_note(encoded, cls.CONTENT_TYPE)
        found = _payload(payload, {"kind", "entry", "by"}, "promise/1")
        if not _is_hash(found["entry"]) or not _is_uint(found["by"]):
            raise Malformed("receipt/payload", "want a leaf hash and a time")
        return cls(origin, issued_at, kid, found["entry"], found["by"], encoded)

    def verify(self, key: bytes) -> None:
        """Check the signature under the log's receipts key. Raises `Refuted`: `signature/invalid`, `receipt/kid`."""
        _verify_note(self.encoded, self.kid, key)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The log's word that the entry cannot stand at `position`: anybody can judge it again there."""

    CONTENT_TYPE: ClassVar[str] = "application/vnd.attest.promise+cbor"
    origin: str
    issued_at: int
    kid: Hash
    entry: Hash  # leaf hash
    code: str
    rows: tuple[int, ...]
    position: int
    encoded: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a refusal; `verify` checks its signature. Raises `Malformed`: `receipt/…`, `cbor/…`."""
        origin, issued_at, kid, payload = _open_note(encoded, cls.CONTENT_TYPE)
        found = _payload(payload, {"kind", "entry", "code", "rows", "position"}, "refusal/1")
        rows = found["rows"]
        if not _is_hash(found["entry"]) or not _is_uint(found["position"]):
            raise Malformed("receipt/payload", "want a leaf hash and a position")
        if not isinstance(found["code"], str) or not _CODE.fullmatch(found["code"]):
            raise Malformed("receipt/payload", "want a code")
        if not isinstance(rows, list) or len(rows) > 16 or not all(map(_is_uint, rows)):
            raise Malformed("receipt/payload", "want at most 16 rows")
        return cls(origin, issued_at, kid, found["entry"], found["code"], tuple(rows), found["position"], encoded)

    def verify(self, key: bytes) -> None:
        """Check the signature under the log's receipts key. Raises `Refuted`: `signature/invalid`, `receipt/kid`."""
        _verify_note(self.encoded, self.kid, key)


def sign_promise(key: Signer, origin: str, *, issued_at: int, entry: Hash, by: int) -> Promise:
    """Promise that the entry with this leaf hash is settled by the time `by`."""
    payload = {"kind": "promise/1", "entry": entry, "by": by}
    return Promise.parse(_sign_note(key, Promise.CONTENT_TYPE, origin, issued_at, payload))


def sign_refusal(
    key: Signer, origin: str, *, issued_at: int, entry: Hash, code: str, rows: Sequence[int], position: int
) -> Refusal:
    """Refuse the entry with this leaf hash, judged at `position`."""
    payload = {"kind": "refusal/1", "entry": entry, "code": code, "rows": list(rows), "position": position}
    return Refusal.parse(_sign_note(key, Refusal.CONTENT_TYPE, origin, issued_at, payload))


# --- receipts ---


@dataclass(frozen=True, slots=True)
class TreeHead:
    """A signed root, without any path: the same for all receipts of one checkpoint."""

    size: int  # entries
    protected: bytes
    signature: bytes

    def receipt(self, index: int, path: Sequence[Hash]) -> bytes:
        """Write the receipt of entry `index`, whose inclusion path is leaf side first."""
        proof = encode_cbor([self.size, index, list(path)])
        return _TAG + encode_cbor([self.protected, {396: {-1: [proof]}}, None, self.signature])


def sign_tree_head(key: Signer, origin: str, *, issued_at: int, size: int, root: Hash) -> TreeHead:
    """Sign the root of the tree of `size` entries, at least 2: RFC 9942 has no receipt without a path."""
    if size < 2:
        raise ValueError("no receipt at a size below 2")
    claims: dict[int, Any] = {1: issuer_of(origin), 2: origin, 6: issued_at, TREE_SIZE: size}
    protected = encode_cbor(
        {1: ALG_ED25519, 4: keys.thumbprint(key.public), 15: claims, 16: RECEIPT_TYP, 395: RFC9162_SHA256}
    )
    return TreeHead(size, protected, key.sign(_sig_structure(protected, root)))


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt of inclusion. Nothing in it is verified."""

    origin: str
    issued_at: int
    kid: Hash
    size: int
    index: int
    path: tuple[Hash, ...]
    protected: bytes
    signature: bytes

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a receipt as `TreeHead.receipt` writes it. Raises `Malformed`: `receipt/…`, `cbor/…`."""
        protected, unprotected, payload, signature = _open(encoded)
        if payload is not None:
            raise Malformed("receipt/cose", "a receipt has a detached payload")
        header = _map(decode_cbor(protected), {1, 4, 15, 16, 395})
        origin, issued_at, kid = _claims(header, {1, 2, 6, TREE_SIZE})
        if header[16] != RECEIPT_TYP or header[395] != RFC9162_SHA256:
            raise Malformed("receipt/header", "want typ scitt-receipt+cose and tree algorithm RFC9162_SHA256")
        proofs = _map(_map(unprotected, {396})[396], {-1})[-1]
        if not isinstance(proofs, list) or len(proofs) != 1 or not isinstance(proofs[0], bytes):
            raise Malformed("receipt/proof", "want one inclusion proof")
        proof = decode_cbor(proofs[0])
        if not isinstance(proof, list) or len(proof) != 3 or not _is_uint(proof[0]) or not _is_uint(proof[1]):
            raise Malformed("receipt/proof", "want [size, index, path]")
        size, index, path = proof
        if not isinstance(path, list) or not 1 <= len(path) <= 63 or not all(map(_is_hash, path)):
            raise Malformed("receipt/proof", "want 1 to 63 hashes")
        # The signature covers the claim but not the proof: under another size the same path proves another index.
        if header[15][TREE_SIZE] != size:
            raise Malformed("receipt/size", f"the proof says size {size}, signed is {header[15][TREE_SIZE]}")
        return cls(origin, issued_at, kid, size, index, tuple(path), protected, signature)

    def verify(self, leaf: Hash, key: bytes) -> Hash:
        """Check that the log vouches for the entry with this leaf hash; return the root it signed.

        Raises:
            Malformed: `inclusion/…`.
            Refuted: `receipt/kid`, another key; `signature/invalid`.
        """
        root = root_from_inclusion(leaf, self.index, self.size, self.path)
        _check_kid(self.kid, key)
        keys.verify_ed25519(key, _sig_structure(self.protected, root), self.signature)
        return root


# --- keys ---


def encode_key(public: bytes) -> bytes:
    """Write the COSE_Key of an Ed25519 public key."""
    return encode_cbor(_cose_key(public))


def parse_key(encoded: bytes) -> bytes:
    """Read the COSE_Key of an Ed25519 public key. Raises `Malformed`: `receipt/key`, `key/…`, `cbor/…`."""
    return _public(decode_cbor(encoded))


def encode_key_set(publics: Sequence[bytes]) -> bytes:
    """Write the COSE_KeySet of Ed25519 public keys."""
    return encode_cbor([_cose_key(public) for public in publics])


def parse_key_set(encoded: bytes) -> tuple[bytes, ...]:
    """Read a COSE_KeySet of Ed25519 public keys. Raises as `parse_key`."""
    found = decode_cbor(encoded)
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_KEYS:
        raise Malformed("receipt/key", f"want a list of 1 to {MAX_KEYS} keys")
    return tuple(map(_public, found))


def _cose_key(public: bytes) -> dict[int, Any]:
    return {1: _OKP, 2: keys.thumbprint(public), 3: ALG_ED25519, -1: _ED25519_CURVE, -2: public}


def _public(found: Any) -> bytes:
    if not isinstance(found, dict) or not isinstance(public := found.get(-2), bytes):
        raise Malformed("receipt/key", "want a COSE_Key for Ed25519")
    keys.check_public_key(public)
    if found != _cose_key(public):
        raise Malformed("receipt/key", "want kty OKP, crv Ed25519, alg -19 and the RFC 9679 thumbprint as kid")
    return public


# --- the envelope ---


def _sign_note(key: Signer, content_type: str, origin: str, issued_at: int, payload: dict[str, Any]) -> bytes:
    protected = encode_cbor(
        {
            1: ALG_ED25519,
            3: content_type,
            4: keys.thumbprint(key.public),
            15: {1: issuer_of(origin), 2: origin, 6: issued_at},
        }
    )
    body = encode_cbor(payload)
    return _TAG + encode_cbor([protected, {}, body, key.sign(_sig_structure(protected, body))])


def _open_note(encoded: bytes, content_type: str) -> tuple[str, int, Hash, bytes]:
    protected, unprotected, payload, _ = _open(encoded)
    if unprotected != {} or not isinstance(payload, bytes):
        raise Malformed("receipt/cose", "want an empty unprotected header and an attached payload")
    header = _map(decode_cbor(protected), {1, 3, 4, 15})
    if header[3] != content_type:
        raise Malformed("receipt/header", f"want content type {content_type}")
    return *_claims(header, {1, 2, 6}), payload


def _verify_note(encoded: bytes, kid: Hash, key: bytes) -> None:
    protected, _, payload, signature = _open(encoded)
    _check_kid(kid, key)
    keys.verify_ed25519(key, _sig_structure(protected, payload or b""), signature)


def _open(encoded: bytes) -> tuple[bytes, Any, bytes | None, bytes]:
    if len(encoded) > MAX_RECEIPT:
        raise Malformed("receipt/size", f"{len(encoded)} bytes, at most {MAX_RECEIPT} are read")
    if encoded[:2] != _TAG + b"\x84":
        raise Malformed("receipt/cose", "want a tagged COSE_Sign1 (d2 84 …)")
    protected, unprotected, payload, signature = decode_cbor(encoded[1:])
    if not isinstance(protected, bytes) or not isinstance(payload, bytes | None):
        raise Malformed("receipt/cose", "want a protected header and a payload as byte strings")
    if not isinstance(signature, bytes) or len(signature) != keys.ED25519_SIGNATURE:
        raise Malformed("receipt/cose", "want a signature of 64 bytes")
    return protected, unprotected, payload, signature


def _claims(header: dict[Any, Any], labels: set[int]) -> tuple[str, int, Hash]:
    if header[1] != ALG_ED25519:
        raise Malformed("receipt/alg", "want alg -19 (Ed25519)")
    claims = _map(header[15], labels)
    origin = claims[2]
    if not isinstance(origin, str) or claims[1] != issuer_of(origin):
        raise Malformed("receipt/header", "want the log as iss and sub")
    if not _is_hash(header[4]) or not all(_is_uint(claims[label]) for label in labels - {1, 2}):
        raise Malformed("receipt/header", "want a kid of 32 bytes and claims as unsigned integers")
    return origin, claims[6], header[4]


def _payload(encoded: bytes, names: set[str], kind: str) -> dict[str, Any]:
    found = _map(decode_cbor(encoded), names)
    if found["kind"] != kind:
        raise Malformed("receipt/payload", f"want kind {kind}")
    return found


def _map(found: Any, names: set[Any]) -> dict[Any, Any]:
    if not isinstance(found, dict) or found.keys() != names:
        raise Malformed("receipt/cose", f"want a map with exactly {', '.join(sorted(map(str, names)))}")
    return found


def _check_kid(kid: Hash, key: bytes) -> None:
    if kid != keys.thumbprint(key):
        raise Refuted("receipt/kid", f"signed by key {kid.hex()}, not by the one given")


def _is_hash(found: Any) -> bool:
    return isinstance(found, bytes) and len(found) == 32


def _is_uint(found: Any) -> bool:
    return type(found) is int and found >= 0


def _sig_structure(protected: bytes, payload: bytes) -> bytes:
    return encode_cbor(["Signature1", protected, b"", payload])
