"""Write tests/vectors/{tree,sparse-map}: `python -m tests.merkle.make_vectors`.

Expected values are literals or come from tests/reference.py, never from the code under test. A test compares the files
with what this writes. Bytes are lower-case hex; sizes and indexes that may exceed 2^53 are decimal text.
"""

import json
from pathlib import Path
from typing import Any

from tests.reference import MTH, PATH, PROOF, ZERO, map_proof, node, pruned, root_of_path, sha256

VECTORS = Path(__file__).parent.parent / "vectors"

ENTRIES = [b"entry-%d" % n for n in range(11)]
LEAVES = [sha256(b"\x00", entry) for entry in ENTRIES]
LARGEST = 2**63 - 1

KEYS = [sha256(b"key-%d" % n) for n in range(40)]
VALUES = [sha256(b"value-%d" % n) for n in range(40)]

# The worked example of docs/spec/sparse-map.md.
EXAMPLE = {
    bytes([0x40]) + bytes(31): bytes([0x11]) * 32,
    bytes([0x60]) + bytes(31): bytes([0x22]) * 32,
    bytes([0xC0]) + bytes(31): bytes([0x33]) * 32,
}


def flip(value: bytes) -> bytes:
    """Change the last bit."""
    return value[:-1] + bytes([value[-1] ^ 1])


def hexes(values: Any) -> list[str]:
    return [value.hex() for value in values]


def root(size: int) -> bytes:
    return MTH(ENTRIES[:size])


# --- tree ---


def tree_roots() -> Any:
    certificate_transparency = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    certificate_transparency.append("606162636465666768696a6b6c6d6e6f")
    cases = [
        {"desc": f"entry-0 to entry-{size - 1}" if size else "no entries", "entries": hexes(ENTRIES[:size])}
        for size in range(12)
    ]
    cases += [
        {"desc": f"the first {size} entries that other logs test with", "entries": certificate_transparency[:size]}
        for size in range(1, 9)
    ]
    for case in cases:
        case["root"] = MTH([bytes.fromhex(entry) for entry in case["entries"]]).hex()
    return {"about": "The root of the tree over these entries, in this order.", "cases": cases}


def tree_frontiers() -> Any:
    def case(desc: str, size: int, hashes: Any, **expected: str) -> Any:
        return {"desc": desc, "size": str(size), "hashes": hexes(hashes), **expected}

    def peaks(size: int) -> list[bytes]:
        found, start = [], 0
        for bit in reversed(range(size.bit_length())):
            if size >> bit & 1:
                found.append(MTH(ENTRIES[start : start + (1 << bit)]))
                start += 1 << bit
        return found

    cases = [case(f"{size} entries", size, peaks(size), root=root(size).hex()) for size in range(12)]
    cases += [
        case("too few hashes", 7, peaks(7)[:2], code="frontier/count"),
        case("too many hashes", 8, peaks(7), code="frontier/count"),
        case("a hash for no entries", 0, [root(0)], code="frontier/count"),
        case("a hash of 31 bytes", 8, [root(8)[1:]], code="frontier/hash-length"),
        case("2^63 entries", LARGEST + 1, [root(8)], code="frontier/size"),
    ]
    return {"about": "Roots of perfect subtrees, largest first, and the root over them.", "cases": cases}


def tree_inclusion() -> Any:
    def case(desc: str, leaf: bytes, index: int, size: int, root: bytes, path: Any, code: str | None = None) -> Any:
        found = {"desc": desc, "leaf": leaf.hex(), "index": str(index), "size": str(size), "root": root.hex()}
        return found | {"path": hexes(path)} | ({"code": code} if code else {})

    cases = [
        case(f"entry {index} of {size}", LEAVES[index], index, size, root(size), PATH(index, ENTRIES[:size]))
        for size in (1, 2, 3, 5, 7, 8, 11)
        for index in range(size)
        if size < 8 or index in (0, 5, 7, 8, 10)
    ]
    for desc, index in [("first", 0), ("last", LARGEST - 1), ("some", 0x1234_5678_9ABC_DEF0)]:
        shape = (index ^ (LARGEST - 1)).bit_length()
        path = (LEAVES * 6)[: shape + bin(index >> shape).count("1")]
        claimed = root_of_path(LEAVES[3], index, LARGEST, path)
        cases.append(case(f"the {desc} entry of the largest tree", LEAVES[3], index, LARGEST, claimed, path))

    good = PATH(4, ENTRIES[:7])
    cases += [
        case("leading hash", LEAVES[4], 4, 7, root(7), [LEAVES[4], *good], "inclusion/path-length"),
        case("trailing root", LEAVES[4], 4, 7, root(7), [*good, root(7)], "inclusion/path-length"),
        case("trailing garbage", LEAVES[4], 4, 7, root(7), [*good, ZERO], "inclusion/path-length"),
        case("last hash missing", LEAVES[4], 4, 7, root(7), good[:-1], "inclusion/path-length"),
        case("first hash missing", LEAVES[4], 4, 7, root(7), good[1:], "inclusion/path-length"),
        case("no path", LEAVES[4], 4, 7, root(7), [], "inclusion/path-length"),
        case("a path for the only entry", LEAVES[0], 0, 1, root(1), [LEAVES[0]], "inclusion/path-length"),
        case("64 hashes", LEAVES[0], 0, LARGEST, root(1), (LEAVES * 6)[:64], "inclusion/path-length"),
        case(
            "first two hashes swapped", LEAVES[4], 4, 7, root(7), [good[1], good[0], good[2]], "inclusion/root-mismatch"
        ),
        case(
            "a bit of the path", LEAVES[4], 4, 7, root(7), [good[0], flip(good[1]), good[2]], "inclusion/root-mismatch"
        ),
        case("a bit of the leaf", flip(LEAVES[4]), 4, 7, root(7), good, "inclusion/root-mismatch"),
        case("a bit of the root", LEAVES[4], 4, 7, flip(root(7)), good, "inclusion/root-mismatch"),
        case("root of another size", LEAVES[4], 4, 7, root(8), good, "inclusion/root-mismatch"),
        case("the neighbour's index", LEAVES[4], 5, 7, root(7), good, "inclusion/root-mismatch"),
        case("a node passed off as a leaf", root(2), 0, 4, root(4), PATH(0, ENTRIES[:4])[1:], "inclusion/path-length"),
        case("the only entry under another root", LEAVES[0], 0, 1, root(2), [], "inclusion/root-mismatch"),
        case("index is the size", LEAVES[7], 7, 7, root(7), good, "inclusion/index"),
        case("index beyond the size", LEAVES[7], 8, 7, root(7), good, "inclusion/index"),
        case("an entry of the empty tree", LEAVES[0], 0, 0, root(0), [], "inclusion/index"),
        case("2^63 entries", LEAVES[0], 0, LARGEST + 1, root(1), (LEAVES * 6)[:63], "inclusion/size"),
        case("31 bytes in the path", LEAVES[4], 4, 7, root(7), [good[0][1:], *good[1:]], "inclusion/hash-length"),
        case("33 bytes in the path", LEAVES[4], 4, 7, root(7), [good[0] + b"\0", *good[1:]], "inclusion/hash-length"),
        case("empty hash in the path", LEAVES[4], 4, 7, root(7), [b"", *good[1:]], "inclusion/hash-length"),
        case("a leaf of 31 bytes", LEAVES[4][1:], 4, 7, root(7), good, "inclusion/hash-length"),
        case("a root of 31 bytes", LEAVES[4], 4, 7, root(7)[1:], good, "inclusion/hash-length"),
    ]
    return {"about": "`leaf` is entry `index` of the tree of `size` entries, or the code.", "cases": cases}


def tree_consistency() -> Any:
    def case(desc: str, old: int, old_root: bytes, new: int, new_root: bytes, path: Any, code: str = "") -> Any:
        found = {"desc": desc, "old_size": str(old), "old_root": old_root.hex(), "new_size": str(new)}
        return found | {"new_root": new_root.hex(), "path": hexes(path)} | ({"code": code} if code else {})

    pairs = [(old, new) for new in range(9) for old in range(new + 1)] + [(4, 11), (6, 11), (8, 11), (9, 11), (10, 11)]
    cases = [
        case(f"{old} to {new}", old, root(old), new, root(new), PROOF(old, ENTRIES[:new]) if old else [])
        for old, new in pairs
    ]
    good, four = PROOF(3, ENTRIES[:7]), PROOF(4, ENTRIES[:7])
    old, new = root(3), root(7)
    length, first, second = "consistency/path-length", "consistency/old-root-mismatch", "consistency/new-root-mismatch"
    cases += [
        case("leading hash", 3, old, 7, new, [old, *good], length),
        case("trailing root", 3, old, 7, new, [*good, new], length),
        case("last hash missing", 3, old, 7, new, good[:-1], length),
        case("no path", 3, old, 7, new, [], length),
        case("old root in front for a power of two", 4, root(4), 7, new, [root(4), *four], length),
        case("a path from the empty tree", 0, root(0), 7, new, [new], length),
        case("a path between equal sizes", 7, new, 7, new, [new], length),
        case("two roots of one size", 7, new, 7, flip(new), [], "consistency/fork"),
        case("empty trees with the same wrong root", 0, ZERO, 0, ZERO, [], first),
        case("empty trees with two roots", 0, root(0), 0, ZERO, [], "consistency/fork"),
        case("from an empty tree with a wrong root", 0, ZERO, 7, new, [], first),
        case("roots swapped", 3, new, 7, old, good, first),
        case("a bit of the old root", 3, flip(old), 7, new, good, first),
        case("a bit of the new root", 3, old, 7, flip(new), good, second),
        case("a bit of the first hash", 3, old, 7, new, [flip(good[0]), *good[1:]], first),
        case("a bit of a hash only the new tree has", 3, old, 7, new, [*good[:-1], flip(good[-1])], second),
        case("a bit of it, for a power of two", 4, root(4), 7, new, [*four[:-1], flip(four[-1])], second),
        # The way begins with the old root here, so the new root is what it misses.
        case("a wrong old root for a power of two", 4, flip(root(4)), 7, new, four, second),
        case("sizes swapped", 7, new, 3, old, good, "consistency/size"),
        case("2^63 entries", 3, old, LARGEST + 1, new, good, "consistency/size"),
        case("31 bytes in the path", 3, old, 7, new, [good[0][1:], *good[1:]], "consistency/hash-length"),
        case("an old root of 31 bytes", 3, old[1:], 7, new, good, "consistency/hash-length"),
        case("a new root of 33 bytes", 3, old, 7, new + b"\0", good, "consistency/hash-length"),
        case("equal sizes with short roots", 1, b"short", 1, b"short", [], "consistency/hash-length"),
    ]
    return {"about": "The new tree begins with the old one, or the code.", "cases": cases}


def tree_tile_paths() -> Any:
    def case(path: str, level: int | None, index: int, width: int) -> Any:
        return {"desc": path, "path": path, "level": level, "index": str(index), "width": width}

    cases = [
        case("tile/0/000", 0, 0, 256),
        case("tile/0/000.p/1", 0, 0, 1),
        case("tile/0/999.p/255", 0, 999, 255),
        case("tile/0/x001/000", 0, 1000, 256),
        case("tile/1/x001/067", 1, 1067, 256),
        case("tile/2/x001/x234/067.p/8", 2, 1_234_067, 8),
        case("tile/0/x036/x028/x797/x018/x963/967.p/255", 0, 36_028_797_018_963_967, 255),
        case("tile/7/000.p/127", 7, 0, 127),
        case("tile/entries/000", None, 0, 256),
        case("tile/entries/x123/x456/789.p/10", None, 123_456_789, 10),
    ]
    refused = {
        "index of one digit": "tile/0/0",
        "index of four digits": "tile/0/1000",
        "leading group of zeros": "tile/0/x000/001",
        "group without x": "tile/0/001/000",
        "last group with x": "tile/0/x001/x000",
        "level with a leading zero": "tile/00/000",
        "negative level": "tile/-1/000",
        "level of 2^64 entries": "tile/8/000.p/1",
        "tile of 2^63 entries": "tile/7/000.p/128",
        "index of 2^63 entries": "tile/0/x036/x028/x797/x018/x963/967",
        "width 0": "tile/0/000.p/0",
        "width 256 spelled out": "tile/0/000.p/256",
        "width with a leading zero": "tile/0/000.p/08",
        "width missing": "tile/0/000.p/",
        "leading slash": "/tile/0/000",
        "trailing slash": "tile/0/000/",
        "trailing line feed": "tile/0/000\n",
        "parent directory": "tile/0/../entries/000",
        "upper case": "tile/0/X001/000",
        "digits of another script": "tile/0/٠٠٠",
        "another kind": "tile/data/000",
        "nothing": "",
    }
    cases += [{"desc": desc, "path": path, "code": "tile/path"} for desc, path in refused.items()]
    return {"about": "Paths of tiles and, with level null, of bundles.", "cases": cases}


def tree_tiles_for() -> Any:
    expected = {
        (0, 0): [],
        (0, 1): ["tile/0/000.p/1"],
        (1, 1): [],
        (1, 255): ["tile/0/000.p/255"],
        (255, 256): ["tile/0/000", "tile/1/000.p/1"],
        (256, 257): ["tile/0/001.p/1"],
        (250, 520): ["tile/0/000", "tile/0/001", "tile/0/002.p/8", "tile/1/000.p/2"],
        (65_535, 65_536): ["tile/0/255", "tile/1/000", "tile/2/000.p/1"],
        (65_536, 65_537): ["tile/0/256.p/1"],
        (65_791, 65_793): ["tile/0/256", "tile/0/257.p/1", "tile/1/001.p/1"],
    }
    cases = [
        {"desc": f"{old} to {new}", "old_size": str(old), "new_size": str(new), "tiles": tiles}
        for (old, new), tiles in expected.items()
    ]
    return {
        "about": "The tiles that a checkpoint of the new size implies and one of the old size does not.",
        "cases": cases,
    }


def tree_bundles() -> Any:
    def case(desc: str, encoded: str, count: int, entries: list[bytes] | None = None, code: str | None = None) -> Any:
        expected = {"code": code} if entries is None else {"entries": hexes(entries)}
        return {"desc": desc, "encoded": encoded, "count": count, **expected}

    two = "0007656e7472792d300007656e7472792d31"
    cases = [
        case("two entries", two, 2, ENTRIES[:2]),
        case("an empty entry", "0000", 1, [b""]),
        case("an entry of 256 bytes", "0100" + "ab" * 256, 1, [b"\xab" * 256]),
        case("one entry too many wanted", two, 3, code="bundle/truncated"),
        case("one entry too few wanted", two, 1, code="bundle/trailing"),
        case("a byte missing", two[:-2], 2, code="bundle/truncated"),
        case("half a length", "00", 1, code="bundle/truncated"),
        case("nothing", "", 1, code="bundle/truncated"),
        case("a byte more", two + "00", 2, code="bundle/trailing"),
    ]
    return {"about": "Entry bundles, read with the number of entries their path says.", "cases": cases}


# --- sparse map ---


def listed(bindings: dict[bytes, bytes]) -> list[list[str]]:
    return [[key.hex(), value.hex()] for key, value in sorted(bindings.items())]


def sample(count: int) -> dict[bytes, bytes]:
    return dict(zip(KEYS[:count], VALUES[:count], strict=True))


def sharing(bits: int) -> dict[bytes, bytes]:
    """Two keys that share exactly so many bits."""
    other = (int.from_bytes(KEYS[0], "big") ^ 1 << 255 - bits).to_bytes(32, "big")
    return {KEYS[0]: VALUES[0], other: VALUES[1]}


def map_roots() -> Any:
    maps = {
        "the empty map": {},
        "one binding": sample(1),
        "one binding of zeros to zeros": {ZERO: ZERO},
        "two bindings": sample(2),
        "the worked example": EXAMPLE,
        "forty bindings": sample(40),
        "two keys that share no bit": sharing(0),
        "two keys that share 7 bits": sharing(7),
        "two keys that share 200 bits": sharing(200),
        "two keys that share 255 bits": sharing(255),
    }
    cases = [{"desc": desc, "bindings": listed(S), "root": node(S).hex()} for desc, S in maps.items()]
    return {"about": "The root of a map of [key, value].", "cases": cases}


def map_proofs() -> Any:
    def good(desc: str, S: dict[bytes, bytes], key: bytes) -> Any:
        value = S[key].hex() if key in S else None
        found = {"desc": desc, "root": node(S).hex(), "key": key.hex(), "proof": map_proof(S, key).hex()}
        return {**found, "value": value}

    def bad(desc: str, code: str, proof: bytes, key: bytes = KEYS[0], root: bytes = b"") -> Any:
        claimed = root or node(sample(40))
        return {"desc": desc, "root": claimed.hex(), "key": key.hex(), "proof": proof.hex(), "code": code}

    first, second, third = EXAMPLE
    empty_end = bytes([0x80]) + bytes(31)
    cases = [
        good("the empty map has nothing", {}, KEYS[0]),
        good("the only key", sample(1), KEYS[0]),
        good("absent: the only key is another", sample(1), KEYS[1]),
        good("the worked example: present", EXAMPLE, second),
        good("the worked example: present, nearer to the root", EXAMPLE, third),
        good("the worked example: absent, another leaf is in its place", EXAMPLE, empty_end),
        good("the worked example: absent, its place is empty", EXAMPLE, bytes(32)),
        good("present among forty", sample(40), KEYS[5]),
        good("absent among forty", sample(40), sha256(b"absent")),
        good("present at depth 9, the bitmap has two bytes", sharing(8), KEYS[0]),
        good("present at depth 255", sharing(254), KEYS[0]),
        good("absent below 200 shared bits", sharing(200), flip(KEYS[0])),
        good("absent beside 200 shared bits", sharing(200), bytes([KEYS[0][0] ^ 1]) + KEYS[0][1:]),
    ]
    value, other = sha256(b"v"), sha256(b"w")
    leaf = sha256(b"\x02", first, value)
    cases += [
        # A root binds each key to one answer even where nobody honest would build that tree.
        {"desc": "accepted though no map has this root: a single leaf pushed down", "key": first.hex()}
        | {"root": sha256(b"\x03", leaf, ZERO).hex(), "proof": (b"\x01\x00\x01" + first + value).hex()}
        | {"value": value.hex()},
        {"desc": "accepted though no map has this root: two empty sides", "key": first.hex()}
        | {"root": sha256(b"\x03", ZERO, ZERO).hex(), "proof": "010000", "value": None},
    ]

    proof = map_proof(sample(40), KEYS[0])
    depth, present = proof[0], bin(proof[1]).count("1")
    end = 2 + 32 * present
    assert depth < 8, "the cases below are written for a bitmap of one byte"
    unused = proof[:1] + bytes([proof[1] | 1]) + proof[2:]
    spelled = b"\x01\x80" + ZERO + b"\x00"
    mismatch, truncated = "map-proof/root-mismatch", "map-proof/truncated"
    cases += [
        bad("no bytes", truncated, b""),
        bad("no bitmap", truncated, proof[:1]),
        bad("cut in a sibling", truncated, proof[:20]),
        bad("no terminal", truncated, proof[:end]),
        bad("cut in the key of the terminal", truncated, proof[: end + 20]),
        bad("cut in the value of the terminal", truncated, proof[:-1]),
        bad("a byte after a leaf", "map-proof/trailing", proof + b"\0"),
        bad("a byte after an empty end", "map-proof/trailing", b"\x00\x00\x00"),
        bad("terminal 02", "map-proof/terminal", proof[:end] + b"\x02" + proof[end + 1 :]),
        bad("a bit of the bitmap beyond the depth", "map-proof/bitmap", unused),
        bad("an empty sibling spelled out", "map-proof/zero-sibling", spelled),
        bad("a foreign leaf that is not on the way", "map-proof/foreign-terminal", proof, key=flip_first(KEYS[0])),
        bad("a bit of the value", mismatch, flip(proof)),
        bad("a bit of the first sibling", mismatch, proof[:2] + bytes([proof[2] ^ 1]) + proof[3:]),
        bad("another root", mismatch, proof, root=node(sample(39))),
        bad("a value for a key that has another", mismatch, proof[:-32] + other),
        bad("absence claimed where the key is", mismatch, proof[:end] + b"\x00"),
        bad("absence claimed by a made-up leaf", mismatch, b"\x00\x01" + KEYS[1] + VALUES[1]),
        bad("a root of 31 bytes", "map-proof/hash-length", proof, root=node(sample(40))[1:]),
        bad("a key of 31 bytes", "map-proof/hash-length", proof, key=KEYS[0][1:]),
    ]
    about = "`proof` shows under `root` that `key` has this value, or with null that it has none; or the code."
    return {"about": about, "cases": cases}


def flip_first(value: bytes) -> bytes:
    """Change the first bit."""
    return bytes([value[0] ^ 0x80]) + value[1:]


def map_pruned() -> Any:
    def good(desc: str, S: dict[bytes, bytes], changes: dict[bytes, bytes], looked_up: list[bytes]) -> Any:
        keys = sorted({*changes, *looked_up})
        return {
            "desc": desc,
            "bindings": listed(S),
            "keys": hexes(keys),
            "pruned": pruned(S, keys).hex(),
            "root": node(S).hex(),
            "get": [[key.hex(), S[key].hex() if key in S else None] for key in keys],
            "changes": listed(changes),
            "new_root": node(S | changes).hex(),
        }

    def bad(desc: str, code: str, *parts: bytes) -> Any:
        return {"desc": desc, "pruned": b"".join(parts).hex(), "code": f"pruned/{code}"}

    first, _, third = EXAMPLE
    new = bytes([0x70]) + bytes(31)
    cases = [
        good("the empty map, one insertion", {}, sample(1), []),
        good("the empty map, three insertions", {}, EXAMPLE, []),
        good("one binding, nothing touched", sample(1), {}, []),
        good("one binding, replaced", sample(1), {KEYS[0]: VALUES[9]}, []),
        good("one binding, another inserted", sample(1), {KEYS[1]: VALUES[1]}, []),
        good("the worked example, one insertion", EXAMPLE, {new: VALUES[0]}, []),
        good("the worked example, into an empty place", EXAMPLE, {bytes(32): VALUES[0]}, []),
        good("the worked example, looked up only", EXAMPLE, {}, [third, bytes(32)]),
        good("thirty bindings, ten more and two replaced", sample(30), dict(zip(KEYS[28:], VALUES, strict=False)), []),
        good("an insertion that shares 255 bits", sample(8), {flip(KEYS[3]): VALUES[0]}, [KEYS[3]]),
        good("a change below 255 shared bits", sharing(255), {KEYS[0]: VALUES[9]}, []),
    ]
    small = pruned(EXAMPLE, [third])
    cases.append(
        {
            "desc": "a key that was pruned away is unknown, not absent",
            "pruned": small.hex(),
            "root": node(EXAMPLE).hex(),
            "touch": first.hex(),
            "code": "pruned/touched-hash",
        }
    )
    leaf = b"\x02" + first + VALUES[0]
    right = b"\x02" + third + VALUES[0]
    cases += [
        bad("no bytes", "truncated"),
        bad("one side only", "truncated", b"\x03", leaf),
        bad("half a hash", "truncated", b"\x01", KEYS[0][:16]),
        bad("half a leaf", "truncated", leaf[:-1]),
        bad("a byte after the tree", "trailing", b"\x00\x00"),
        bad("two trees", "trailing", leaf, right),
        bad("tag 04", "tag", b"\x04"),
        bad("an empty subtree as a hash", "zero-hash", b"\x01", ZERO),
        bad("leaves on the wrong sides", "foreign-leaf", b"\x03", right, leaf),
        bad("the same leaf on both sides", "foreign-leaf", b"\x03", leaf, leaf),
        bad("two empty sides", "not-canonical", b"\x03\x00\x00"),
        bad("a leaf beside nothing", "not-canonical", b"\x03", leaf, b"\x00"),
        bad("nothing beside a leaf", "not-canonical", b"\x03\x00", right),
        bad("257 levels", "depth", b"\x03" * 257),
    ]
    about = "`pruned` is what `keys` need of the map; what it says, and the root after the changes; or the code."
    return {"about": about, "cases": cases}


FILES = {
    "tree/roots.json": tree_roots,
    "tree/frontiers.json": tree_frontiers,
    "tree/inclusion.json": tree_inclusion,
    "tree/consistency.json": tree_consistency,
    "tree/tile-paths.json": tree_tile_paths,
    "tree/tiles-for.json": tree_tiles_for,
    "tree/bundles.json": tree_bundles,
    "sparse-map/roots.json": map_roots,
    "sparse-map/proofs.json": map_proofs,
    "sparse-map/pruned.json": map_pruned,
}


def written(name: str) -> str:
    return json.dumps(FILES[name](), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    for each in FILES:
        file = VECTORS / each
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(written(each))
