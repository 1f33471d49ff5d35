"""The map as its definition says it, with nothing shared and nothing fast: what the state map is tested against."""

from collections.abc import Iterator, Mapping
from hashlib import sha256

ZERO = bytes(32)


def value_of(state: bytes) -> bytes:
    """The leaf value of a state: the label, its length in front, and the state with its length in front."""
    return sha256(b"\x0fattest/state/v1" + b"\x00\x00\x00\x31" + state).digest()


def leaf(key: bytes, value: bytes) -> bytes:
    return sha256(b"\x02" + key + value).digest()


def inner(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x03" + left + right).digest()


def bit(key: bytes, depth: int) -> int:
    return key[depth // 8] >> (7 - depth % 8) & 1


def root(values: Mapping[bytes, bytes], depth: int = 0) -> bytes:
    """The hash of the subtree at `depth` over these keys and values."""
    if not values:
        return ZERO
    if len(values) == 1:
        return leaf(*next(iter(values.items())))
    sides: tuple[dict[bytes, bytes], dict[bytes, bytes]] = ({}, {})
    for key, value in values.items():
        sides[bit(key, depth)][key] = value
    return inner(root(sides[0], depth + 1), root(sides[1], depth + 1))


def root_of_states(states: Mapping[bytes, bytes]) -> bytes:
    return root({key: value_of(state) for key, state in states.items()})


def read_proof(proof: bytes, expected_root: bytes, key: bytes) -> bytes | None:
    """What an encoded proof says `key` is bound to; fails unless it leads to the root and is spelled as it must be."""
    depth = proof[0]
    size = (depth + 7) // 8
    bits = "".join(f"{byte:08b}" for byte in proof[1 : 1 + size])
    assert "1" not in bits[depth:]
    at = 1 + size
    siblings = []
    for present in bits[:depth]:
        siblings.append(proof[at : at + 32] if present == "1" else ZERO)
        assert (siblings[-1] != ZERO) == (present == "1")
        at += 32 * (present == "1")
    if proof[at] == 0:
        assert len(proof) == at + 1
        found, bound = ZERO, None
    else:
        assert proof[at] == 1
        assert len(proof) == at + 65
        other, value = proof[at + 1 : at + 33], proof[at + 33 :]
        assert all(bit(other, level) == bit(key, level) for level in range(depth))
        found, bound = leaf(other, value), value if other == key else None
    for level in reversed(range(depth)):
        found = inner(siblings[level], found) if bit(key, level) else inner(found, siblings[level])
    assert found == expected_root
    return bound


class PrunedTree:
    """A pruned tree, read by the book: nested tuples of what stands on the wire."""

    def __init__(self, encoded: bytes) -> None:
        stream = iter(encoded)
        self.node = self._read(stream)
        assert next(stream, None) is None, "bytes after the tree"

    def _read(self, stream: Iterator[int]) -> tuple:
        tag = next(stream)
        if tag == 3:
            return (3, self._read(stream), self._read(stream))
        return (tag, bytes(next(stream) for _ in range((0, 32, 64)[tag])))

    def root(self) -> bytes:
        return self._hash(self.node)

    def _hash(self, node: tuple) -> bytes:
        match node:
            case (0, _):
                return ZERO
            case (1, hashed):
                return hashed
            case (2, binding):
                return leaf(binding[:32], binding[32:])
            case (_, left, right):
                return inner(self._hash(left), self._hash(right))

    def look_up(self, key: bytes) -> bytes | None:
        node = self.node
        depth = 0
        while node[0] == 3:
            node = node[1 + bit(key, depth)]
            depth += 1
        assert node[0] != 1, "the place of this key was cut away"
        return node[1][32:] if node[0] == 2 and node[1][:32] == key else None

    def bind(self, key: bytes, value: bytes) -> None:
        self.node = self._bind(self.node, 0, key, value)

    def _bind(self, node: tuple, depth: int, key: bytes, value: bytes) -> tuple:
        assert node[0] != 1, "the place of this key was cut away"
        if node[0] == 0 or (node[0] == 2 and node[1][:32] == key):
            return (2, key + value)
        if node[0] == 2:  # another key: one level down, next to nothing
            node = (3, (0, b""), node) if bit(node[1], depth) else (3, node, (0, b""))
        sides = list(node[1:])
        sides[bit(key, depth)] = self._bind(sides[bit(key, depth)], depth + 1, key, value)
        return (3, *sides)
