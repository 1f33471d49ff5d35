"""The specifications of our trees, transcribed line by line: slow, obvious, and sharing nothing with `attest`.

Where a test needs to know what is right, it asks here.
"""

import hashlib
from collections.abc import Mapping, Sequence


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


# --- RFC 6962 section 2.1; D is a list of entries ---


def split(n: int) -> int:
    """Return k, the largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def MTH(D: Sequence[bytes]) -> bytes:
    if not D:
        return sha256()
    if len(D) == 1:
        return sha256(b"\x00", D[0])
    k = split(len(D))
    return sha256(b"\x01", MTH(D[:k]), MTH(D[k:]))


def PATH(m: int, D: Sequence[bytes]) -> list[bytes]:
    if len(D) == 1:
        return []
    k = split(len(D))
    return [*PATH(m, D[:k]), MTH(D[k:])] if m < k else [*PATH(m - k, D[k:]), MTH(D[:k])]


def PROOF(m: int, D: Sequence[bytes]) -> list[bytes]:
    return SUBPROOF(m, D, True)


def SUBPROOF(m: int, D: Sequence[bytes], b: bool) -> list[bytes]:
    if m == len(D):
        return [] if b else [MTH(D)]
    k = split(len(D))
    if m <= k:
        return [*SUBPROOF(m, D[:k], b), MTH(D[k:])]
    return [*SUBPROOF(m - k, D[k:], False), MTH(D[:k])]


def root_of_path(leaf: bytes, m: int, n: int, path: Sequence[bytes]) -> bytes:
    """Undo PATH: the root of n entries of which entry m has this leaf hash."""
    if n == 1:
        return leaf
    k = split(n)
    *below, sibling = path
    if m < k:
        return sha256(b"\x01", root_of_path(leaf, m, k, below), sibling)
    return sha256(b"\x01", sibling, root_of_path(leaf, m - k, n - k, below))


# --- the prefix tree of draft-ietf-keytrans-protocol; S is a map from keys to values ---

ZERO = bytes(32)


def bit(k: bytes, d: int) -> int:
    """Return the d-th bit of k, most significant first."""
    return k[d // 8] >> (7 - d % 8) & 1


def halves(S: Mapping[bytes, bytes], d: int) -> list[dict[bytes, bytes]]:
    return [{k: v for k, v in S.items() if bit(k, d) == side} for side in (0, 1)]


def node(S: Mapping[bytes, bytes], d: int = 0) -> bytes:
    if not S:
        return ZERO
    if len(S) == 1:
        [(key, value)] = S.items()
        return sha256(b"\x02", key, value)
    S0, S1 = halves(S, d)
    return sha256(b"\x03", node(S0, d + 1), node(S1, d + 1))


def map_proof(S: Mapping[bytes, bytes], key: bytes) -> bytes:
    """Write the proof for `key`: depth, bitmap, siblings that are not zero, where it ends."""
    siblings = []
    while len(S) > 1:
        d = len(siblings)
        sides = halves(S, d)
        siblings.append(node(sides[1 - bit(key, d)], d + 1))
        S = sides[bit(key, d)]
    bits = "".join("0" if sibling == ZERO else "1" for sibling in siblings)
    bits += "0" * (-len(bits) % 8)
    bitmap = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    end = b"".join(b"\x01" + k + v for k, v in S.items()) or b"\x00"
    return bytes([len(siblings)]) + bitmap + b"".join(each for each in siblings if each != ZERO) + end


def pruned(S: Mapping[bytes, bytes], keys: Sequence[bytes], d: int = 0) -> bytes:
    """Write what is needed of the tree to look up, change or insert `keys`."""
    if not S:
        return b"\x00"
    if not keys:
        return b"\x01" + node(S, d)
    if len(S) == 1:
        [(key, value)] = S.items()
        return b"\x02" + key + value
    S0, S1 = halves(S, d)
    left, right = ([k for k in keys if bit(k, d) == side] for side in (0, 1))
    return b"\x03" + pruned(S0, left, d + 1) + pruned(S1, right, d + 1)
