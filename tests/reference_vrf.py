"""A slow transcription of RFC 9381 (suite 03) and of edwards25519 as RFC 8032 defines it: the oracle for the VRF.

Nothing here is optimised or shared with the code under test. Points are affine pairs of integers.
"""

import hashlib

p = 2**255 - 19
q = 2**252 + 27742317777372353535851937790883648493
d = -121665 * pow(121666, -1, p) % p
IDENTITY = (0, 1)

Point = tuple[int, int]


# --- RFC 8032 §5.1 ---


def add(P: Point, Q: Point) -> Point:
    (x1, y1), (x2, y2) = P, Q
    t = d * x1 * x2 * y1 * y2 % p
    x3 = (x1 * y2 + x2 * y1) * pow(1 + t, -1, p) % p
    y3 = (y1 * y2 + x1 * x2) * pow(1 - t, -1, p) % p
    return x3, y3


def negate(P: Point) -> Point:
    return -P[0] % p, P[1]


def multiply(n: int, P: Point) -> Point:
    result = IDENTITY
    while n:
        if n & 1:
            result = add(result, P)
        P = add(P, P)
        n >>= 1
    return result


def point_to_string(P: Point) -> bytes:
    return (P[1] | (P[0] & 1) << 255).to_bytes(32, "little")


def string_to_point(encoded: bytes) -> Point | None:
    """RFC 8032 §5.1.3, with its refusals: y >= p, no square root, minus zero. None where it says decoding fails."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if len(encoded) != 32 or y >= p:
        return None
    u, v = (y * y - 1) % p, (d * y * y + 1) % p
    x = u * pow(v, 3, p) * pow(u * pow(v, 7, p), (p - 5) // 8, p) % p
    if v * x * x % p == -u % p:
        x = x * pow(2, (p - 1) // 4, p) % p
    if v * x * x % p != u:
        return None
    if x == 0 and sign:
        return None
    return (x if x & 1 == sign else -x % p), y


_base = string_to_point((4 * pow(5, -1, p) % p).to_bytes(32, "little"))
assert _base is not None
BASE: Point = _base


def torsion() -> list[Point]:
    """The eight points whose order divides 8, the identity among them."""
    for y in range(2, 100):
        P = string_to_point(y.to_bytes(32, "little"))
        T = multiply(q, P) if P else IDENTITY
        if multiply(4, T) != IDENTITY:
            return [multiply(n, T) for n in range(8)]
    raise AssertionError("no point of order 8 among a hundred")


# --- RFC 9381 §5, §5.4, §5.5 with suite 03 ---


def sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()


def secret_scalar(sk: bytes) -> int:
    buffer = bytearray(sha512(sk)[:32])
    buffer[0] &= 0b11111000
    buffer[31] &= 0b01111111
    buffer[31] |= 0b01000000
    return int.from_bytes(buffer, "little")


def public_key(sk: bytes) -> bytes:
    return point_to_string(multiply(secret_scalar(sk), BASE))


def encode_to_curve(salt: bytes, alpha: bytes) -> Point:
    ctr = 0
    while True:
        P = string_to_point(sha512(b"\x03\x01", salt, alpha, bytes([ctr]), b"\x00")[:32])
        if P is not None and (H := multiply(8, P)) != IDENTITY:
            return H
        ctr += 1


def challenge(*points: Point) -> int:
    hashed = sha512(b"\x03\x02", *(point_to_string(P) for P in points), b"\x00")
    return int.from_bytes(hashed[:16], "little")


def gamma_to_hash(Gamma: Point) -> bytes:
    return sha512(b"\x03\x03", point_to_string(multiply(8, Gamma)), b"\x00")


def prove(sk: bytes, alpha: bytes, twist: Point = IDENTITY) -> dict[str, bytes]:
    """Return the values RFC 9381 B.3 prints. A `twist` of small order is added to Gamma: the proof of a cheat."""
    x = secret_scalar(sk)
    Y = multiply(x, BASE)
    H = encode_to_curve(point_to_string(Y), alpha)
    Gamma = add(multiply(x, H), twist)
    k_string = sha512(sha512(sk)[32:], point_to_string(H))
    k = int.from_bytes(k_string, "little") % q
    while True:
        U, V = multiply(k, BASE), multiply(k, H)
        c = challenge(Y, H, Gamma, U, V)
        if multiply(c, twist) == IDENTITY:
            break
        k += 1  # a cheat tries until c kills the twist
    s = (k + c * x) % q
    pi = point_to_string(Gamma) + c.to_bytes(16, "little") + s.to_bytes(32, "little")
    return {
        "pk": point_to_string(Y),
        "x": x.to_bytes(32, "little"),
        "h": point_to_string(H),
        "k": k_string,
        "u": point_to_string(U),
        "v": point_to_string(V),
        "pi": pi,
        "beta": gamma_to_hash(Gamma),
    }


def in_prime_order_subgroup(P: Point) -> bool:
    return P != IDENTITY and multiply(q, P) == IDENTITY


def verify(pk: bytes, alpha: bytes, pi: bytes, *, strict: bool = True) -> bytes | str:
    """Return beta, or the word for what is wrong. Not `strict` is RFC 9381 to the letter: it lets twists pass."""
    Y = string_to_point(pk)
    if Y is None or multiply(8, Y) == IDENTITY or (strict and not in_prime_order_subgroup(Y)):
        return "vrf/key"
    if len(pi) != 80:
        return "vrf/proof-length"
    c, s = int.from_bytes(pi[32:48], "little"), int.from_bytes(pi[48:], "little")
    if s >= q:
        return "vrf/scalar"
    Gamma = string_to_point(pi[:32])
    if Gamma is None or (strict and not in_prime_order_subgroup(Gamma)):
        return "vrf/gamma"
    if strict and (c == 0 or s == 0):
        return "vrf/mismatch"
    H = encode_to_curve(pk, alpha)
    U = add(multiply(s, BASE), negate(multiply(c, Y)))
    V = add(multiply(s, H), negate(multiply(c, Gamma)))
    if challenge(Y, H, Gamma, U, V) != c:
        return "vrf/mismatch"
    return gamma_to_hash(Gamma)
