"""Others read our logs: checkpoints, tiles, entries, `.tlog-proof` files, policies. Nothing of ours answers here."""

from pathlib import Path
from typing import Final

from tools.interop.install import AICS, OURS, ROOT, TOOLS
from tools.interop.processes import Ran, must, run
from tools.interop.report import Report, Tool
from tools.interop.world import World

DRIVERS: Final = ROOT / "tools/interop/drivers"


def go_version(module: str) -> str:
    """Return the version of a Go module that our program was built with; `go` is the toolchain's."""
    for line in must(OURS, "versions").text.splitlines():
        if line.startswith(module + " "):
            return line.partition(" ")[2].removeprefix("go")
    raise KeyError(module)


def python_version(python: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return must(python, "-c", code).text.strip()


def read_all(report: Report, world: World) -> None:
    """Show the logs to all readers."""
    for show in (sumdb, tessera, torchwood, tlog_scales, proofbundle, aics_tlog):
        show(report, world)


def sumdb(report: Report, world: World) -> None:
    """Show them to Go's checksum database client."""
    tool = report.tool(
        "golang.org/x/mod",
        go_version("golang.org/x/mod"),
        "The client of Go's checksum database: `sumdb/note`, `sumdb/tlog` with our tiles as its `TileReader`.",
    )
    ed25519, mldsa44 = world.vkeys
    newest = world.checkpoint.read_bytes()

    def note(*vkeys: str, checkpoint: bytes = newest) -> Ran:
        return run(OURS, "note", *vkeys, stdin=checkpoint)

    opened = note(ed25519)
    tool.accepts("a checkpoint, with the Ed25519 key of the log", opened, saying=f"verified {world.large.origin}")
    tool.accepts("in it the ML-DSA-44 line, of a key that it does not know", opened, saying="ignored")
    tool.cannot(
        "the ML-DSA-44 key of the log",
        note(ed25519, mldsa44),
        because="unknown verifier algorithm",
        instead="the Ed25519 key, as above",
    )
    tool.refuses(
        "a checkpoint, with the key of another log", note(world.other_vkey), because="no verifiable signatures"
    )
    lines = newest.split(b"\n")
    lines[1] = b"%d" % (int(lines[1]) + 1)
    tool.refuses(
        "a checkpoint with another size",
        note(ed25519, checkpoint=b"\n".join(lines)),
        because="invalid signature for key",
    )

    def tree(url: str) -> Ran:
        return run(OURS, "tree", url, ed25519, world.large.seen)

    checked = tree(world.large.url)
    tool.accepts(
        "every entry of a log of more than 512: its bundle, its leaf, its `ProveRecord`, `CheckRecord`",
        checked,
        saying=f"records {world.large.size}\n",
    )
    tool.accepts(
        "the trees of 255, 256, 257, 258 and more entries: `TreeHash` of each, `ProveTree`, `CheckTree` of every pair",
        checked,
        saying="consistency ",
    )
    tool.accepts(
        "a log of one epoch, two entries",
        run(OURS, "tree", world.small.url, world.other_vkey, world.small.seen),
        saying="records 2\n",
    )
    tool.accepts("a plain copy of the published files", tree(world.faults["intact"]))
    for fault, because in (
        ("tile", "downloaded inconsistent tile"),
        ("partial-tile", "downloaded inconsistent tile"),
        ("upper-tile", "downloaded inconsistent tile"),
        ("bundle", "is not the one that its tile has the hash of"),
        ("partial-bundle", "is not the one that its tile has the hash of"),
        ("root", "invalid signature for key"),
    ):
        tool.refuses(_FAULTS[fault], tree(world.faults[fault]), because=because)


_PROOFS: Final = "the `.tlog-proof` files of the entries 0, 1, 254 to 257, 511, 512 and the last"
_FAULTS: Final = {
    "tile": "a bit flipped in a full tile",
    "partial-tile": "a bit flipped in a partial tile",
    "upper-tile": "a bit flipped in a tile of level 1",
    "bundle": "a bit flipped in a full bundle of entries",
    "partial-bundle": "a bit flipped in a partial bundle",
    "root": "another root in the checkpoint",
}


def tessera(report: Report, world: World) -> None:
    """Show them to Tessera's fsck."""
    tool = report.tool(
        "github.com/transparency-dev/tessera",
        go_version("github.com/transparency-dev/tessera"),
        "The library behind its `fsck` command, which computes all tiles from the entries anew. (The command itself "
        "ends with 0 whatever it finds.) Keys are read by `formats/note` "
        f"{go_version('github.com/transparency-dev/formats')}.",
    )
    ed25519, mldsa44 = world.vkeys

    def fsck(url: str, vkey: str = ed25519) -> Ran:
        return run(OURS, "fsck", url, vkey)

    tool.accepts("a log of more than 512 entries, with its Ed25519 key", fsck(world.large.url))
    tool.accepts("a log of more than 512 entries, with its ML-DSA-44 key", fsck(world.large.url, mldsa44))
    tool.accepts("a log of two entries", fsck(world.small.url, world.other_vkey))
    tool.accepts("a plain copy of the published files", fsck(world.faults["intact"]))
    for fault, because in (
        ("tile", ": log has:"),
        ("partial-tile", ": log has:"),
        ("upper-tile", ": log has:"),
        ("bundle", ": log has:"),
        ("partial-bundle", ": log has:"),
        ("root", "failed to verify"),
    ):
        tool.refuses(_FAULTS[fault], fsck(world.faults[fault]), because=because)
    tool.refuses(
        "the key of another log", fsck(world.large.url, world.other_vkey), because="failed to fetch and verify"
    )


def torchwood(report: Report, world: World) -> None:
    """Show them to torchwood."""
    tool = report.tool(
        "filippo.io/torchwood",
        go_version("filippo.io/torchwood"),
        "Its policies, `.tlog-proof` files and tile client.",
    )
    ed25519, mldsa44 = world.vkeys
    policy = world.large.policy
    mldsa_policy = world.file("policy-mldsa", f"log {mldsa44}\nquorum none\n")
    both = world.file("policy-both", f"log {ed25519}\nlog {mldsa44}\nquorum none\n")
    two_logs = world.file("policy-two-logs", f"log {ed25519}\nlog {world.other_vkey}\nquorum none\n")

    def proof(index: int, *, policy: Path = policy, entry: Path | None = None, proof: Path | None = None) -> Ran:
        known_entry, known_proof = world.proofs[index]
        return run(OURS, "proof", policy, entry or known_entry, proof or known_proof)

    tool.accepts(f"{_PROOFS}, under the policy of `attest operator init`", *map(proof, world.proofs))
    small = (run(OURS, "proof", world.small.policy, entry, given) for entry, given in world.small_proofs.values())
    tool.accepts("the `.tlog-proof` files of a log of two entries", *small)
    tool.accepts("a `.tlog-proof` under a policy with the log's ML-DSA-44 key alone", proof(255, policy=mldsa_policy))
    tool.accepts("a `.tlog-proof` under a policy with both keys of the log", proof(255, policy=both))
    tool.cannot(
        "a policy with the `log` lines of two logs, of which tlog-policy wants any one",
        proof(255, policy=two_logs),
        because="only 1/2 policy components satisfied",
        instead="a policy for each log",
    )
    tool.refuses(
        "the proof of another entry",
        proof(255, entry=world.proofs[254][0]),
        because="tlog record inclusion proof verification failed",
    )
    other_index = copies_of(world, "index", world.proofs[255][1], b"index 255\n", b"index 254\n")
    tool.refuses(
        "a proof with another index", proof(255, proof=other_index), because="inclusion proof verification failed"
    )
    tool.refuses(
        "a proof under the policy of another log",
        proof(255, policy=world.small.policy),
        because="note has no verifiable signatures",
    )
    _torchwood_client(tool, world)


def _torchwood_client(tool: Tool, world: World) -> None:
    policy = world.large.policy
    tool.accepts("all entries, by its tile client", run(OURS, "entries", world.large.url, policy), saying="entries ")
    for fault in ("tile", "bundle", "partial-bundle", "root"):
        because = {"tile": "inconsistent tile", "root": "invalid signature for key"}.get(
            fault, "hash mismatch for entry"
        )
        tool.refuses(_FAULTS[fault], run(OURS, "entries", world.faults[fault], policy), because=because)
    made = world.where / "torchwood"
    made.mkdir()
    must(OURS, "proofs", world.large.url, policy, made, *world.proofs)
    different = [
        index
        for index, (_, ours) in world.proofs.items()
        if (made / f"{index}.tlog-proof").read_bytes() != ours.read_bytes()
    ]
    tool.finds(
        "the `.tlog-proof` files that it makes from our tiles are ours, byte for byte",
        ok=not different,
        found=different,
    )
    subtree = run(OURS, "subtree", world.vkeys[1], stdin=world.checkpoint.read_bytes())
    tool.accepts(
        "the log's ML-DSA-44 line, as a cosignature of the subtree from 0 to the size", subtree, saying="subtree 0 "
    )


def copies_of(world: World, name: str, path: Path, old: bytes, new: bytes) -> Path:
    """Copy a file with one thing changed."""
    found = path.read_bytes()
    if old not in found:
        raise ValueError(f"{path} has no {old!r}")
    return world.file(f"{path.name}.{name}", found.replace(old, new, 1))


def tlog_scales(report: Report, world: World) -> None:
    """Show them to tlog-scales."""
    python = TOOLS / "python"
    tool = report.tool(
        "tlog-scales", python_version(python, "tlog-scales"), "Its command `tlog-tiles`, and its library."
    )
    ed25519, mldsa44 = world.vkeys

    def leaf(url: str, index: int) -> Ran:
        return run(TOOLS / "tlog-tiles", "get-leaf", "-c", url, index)

    url = world.large.url
    wrong = [index for index, (entry, _) in world.proofs.items() if leaf(url, index).output != entry.read_bytes()]
    tool.finds("`get-leaf -c` gives our entries, checked", ok=not wrong, found=wrong)
    differ = [
        index
        for index, (_, proof) in world.proofs.items()
        if run(TOOLS / "tlog-tiles", "gen-proof", url, index).output != proof.read_bytes()
    ]
    tool.finds("`gen-proof` gives our `.tlog-proof` files, byte for byte", ok=not differ, found=differ)

    def scales(*arguments: str | Path) -> Ran:
        return run(python, DRIVERS / "scales.py", *arguments)

    tool.accepts("a checkpoint, with the Ed25519 key of the log", scales("checkpoint", ed25519, world.checkpoint))
    tool.accepts("a checkpoint, with the ML-DSA-44 key of the log", scales("checkpoint", mldsa44, world.checkpoint))
    earlier = sorted(world.large.seen.iterdir())
    tool.accepts(
        "consistency from 255, 256, 257, 258 and more, by tiles",
        scales("consistency", mldsa44, url, *earlier),
        saying=f"{len(earlier)} consistent",
    )
    tool.refuses(
        "the key of another log",
        scales("checkpoint", world.other_vkey, world.checkpoint),
        because="no signature matched",
    )
    for fault in ("tile", "bundle"):
        index = 256 if fault == "bundle" else 99
        tool.refuses(_FAULTS[fault], leaf(world.faults[fault], index), because="InclusionProofInvalid")
    tool.refuses(
        _FAULTS["upper-tile"], scales("consistency", ed25519, world.faults["upper-tile"]), because="another root"
    )
    tool.refuses(_FAULTS["root"], scales("consistency", mldsa44, world.faults["root"]), because="InvalidSignature")


def proofbundle(report: Report, world: World) -> None:
    """Show them to proofbundle."""
    tool = report.tool(
        "proofbundle",
        python_version(TOOLS / "python", "proofbundle"),
        "`proofbundle verify-proof`, on `.tlog-proof` files.",
    )
    ed25519, mldsa44 = world.vkeys

    def verify(index: int, *more: str, vkey: str = ed25519, entry: int | None = None, proof: Path | None = None) -> Ran:
        return run(
            *(TOOLS / "proofbundle", "verify-proof", "--expected-origin", world.large.origin),
            *("--log-vkey", vkey, *more),
            *("--payload-file", world.proofs[index if entry is None else entry][0], proof or world.proofs[index][1]),
        )

    tool.accepts(_PROOFS, *map(verify, world.proofs), saying="=> OK")
    tool.cannot(
        "the ML-DSA-44 key of the log",
        verify(255, vkey=mldsa44),
        because="vkey key material must be 0x01",
        instead="the Ed25519 key; ML-DSA-44 of witnesses",
    )
    tool.refuses("the proof of another entry", verify(255, entry=254), because="[FAIL] merkle-inclusion")
    other_index = copies_of(world, "index", world.proofs[255][1], b"index 255\n", b"index 254\n")
    tool.refuses("a proof with another index", verify(255, proof=other_index), because="[FAIL] merkle-inclusion")
    tool.refuses("the key of another log", verify(255, vkey=world.other_vkey), because="[FAIL] log-signature")
    tool.refuses(
        "the log as its own witness",
        verify(255, "--witness-vkey", mldsa44, "--threshold", "1"),
        because="[FAIL] witness-quorum",
    )


def aics_tlog(report: Report, world: World) -> None:
    """Show them to aics-tlog."""
    tool = report.tool(
        "aics-tlog",
        python_version(AICS / "python", "aics-tlog"),
        "Its command. It says that it needs Python 3.12, and runs on 3.11.",
    )
    ed25519, mldsa44 = world.vkeys

    def aics(what: str, *arguments: str | Path | int, url: str = world.large.url, vkey: str = ed25519) -> Ran:
        source = ("--log-key", vkey, "--origin", world.large.origin, "--tiles", url)
        return run(AICS / "aics-tlog", what, *source, *arguments)

    tool.accepts(
        "a checkpoint, and that the tiles lead to its root", aics("verify-checkpoint"), saying='"tiles_ok": true'
    )

    def audit(url: str) -> Ran:
        return run(AICS / "python", DRIVERS / "feeder.py", "audit", url, world.checkpoint)

    tool.accepts(
        "every tile and bundle of a log of more than 512 entries, by `audit_tiles`",
        audit(world.large.url),
        saying=f"size={world.large.size}",
    )
    tool.accepts(
        "a log of two entries",
        run(AICS / "aics-tlog", "verify-checkpoint", "--log-key", world.other_vkey, "--tiles", world.small.url),
        saying='"tiles_ok": true',
    )
    earlier = [world.large.seen / f"{size:06}" for size in (255, 256, 257)]
    tool.accepts(
        "consistency from 255, 256, 257",
        *(aics("verify-consistency", "--old-checkpoint", each) for each in earlier),
        saying='"ok": true',
    )
    tool.accepts(
        "inclusion of the entries 255 and 256",
        *(aics("verify-inclusion", "--index", index, "--leaf", world.proofs[index][0]) for index in (255, 256)),
        saying='"ok": true',
    )
    tool.cannot(
        "the ML-DSA-44 key of the log",
        aics("verify-checkpoint", vkey=mldsa44),
        because="log key must be an Ed25519 vkey",
        instead="the Ed25519 key, as above",
    )
    tool.refuses(
        "the proof of another entry",
        aics("verify-inclusion", "--index", 255, "--leaf", world.proofs[254][0]),
        because="the leaf is not included at this index",
    )
    tool.refuses(
        "the key of another log", aics("verify-checkpoint", vkey=world.other_vkey), because="no signature from log key"
    )
    for fault in _FAULTS:
        if fault != "root":
            tool.refuses(
                f"{_FAULTS[fault]}, by `audit_tiles`", audit(world.faults[fault]), because="TileVerificationError"
            )
    tool.refuses(_FAULTS["root"], aics("verify-checkpoint", url=world.faults["root"]), because="failed verification")
