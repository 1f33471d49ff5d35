"""Other people's clients ask our witness, through every answer that it has, and others again check what it signs."""

import re
from pathlib import Path

from attest.encoding import encode_base64
from attest.formats.checkpoint import SignedCheckpoint
from attest.merkle import tree
from tools.interop.asking import Offers
from tools.interop.cosigners import Cosigner, attest_witness
from tools.interop.install import AICS, OURS, TOOLS
from tools.interop.processes import Ran, must, run
from tools.interop.readers import DRIVERS, go_version, python_version
from tools.interop.report import Report
from tools.interop.world import World


def let_others_ask(report: Report, world: World, where: Path) -> None:
    """Run our witness once for each client."""
    where.mkdir()
    offers = Offers.of(world)
    for name, show in (("witness", _omniwitness_client), ("aics", _aics_client), ("tessera", _tessera_log)):
        directory = where / name
        directory.mkdir()
        show(report, offers, directory)


def _omniwitness_client(report: Report, offers: Offers, where: Path) -> None:
    tool = report.tool(
        "client of the omniwitness",
        go_version("github.com/transparency-dev/witness"),
        "Asks our witness: `client/http` of github.com/transparency-dev/witness. It knows answers by these names.",
    )
    with attest_witness(where, offers.world.vkeys) as witness:

        def offer(signed: SignedCheckpoint, old: int, *, proof_from: int | None = None) -> Ran:
            start, size = old if proof_from is None else proof_from, signed.checkpoint.size
            path = [] if start == 0 or start >= size else tree.consistency_path(start, size, offers.read(size))
            return run(OURS, "offer", witness.url, old, *map(encode_base64, path), stdin=signed.encode())

        def expect(what: str, done: Ran, answer: str, *, saying: str = "", cosigned: bool = False) -> None:
            ok = (done.code == 0) is cosigned and saying in done.text and (b"\xe2\x80\x94" in done.output) is cosigned
            tool.answers(what, answer + (f": `{saying}`" if saying else ""), ok=ok, found=done.text)

        expect("a first cosignature", offer(offers.true(255), 0), "200", cosigned=True)
        expect("a step with a proof", offer(offers.true(256), 255), "200", cosigned=True)
        forgotten = offer(offers.true(257), 0)
        expect("a step from a forgotten size", forgotten, "409", saying="old size != current")
        tool.finds(
            "the size in that answer: the one cosigned", ok=forgotten.output == b"size 256\n", found=forgotten.text
        )
        expect("the step from the size that was named", offer(offers.true(257), 256), "200", cosigned=True)
        expect("the same again, for a newer time", offer(offers.true(257), 257), "200", cosigned=True)
        forked = offers.lie(257)
        expect("another tree of the same size", offer(forked, 257), "422", saying="consistency proof invalid")
        torn = offers.lie(300)
        expect("another, larger tree", offer(torn, 257), "422", saying="consistency proof invalid")
        wrong = offer(offers.true(258), 257, proof_from=255)
        expect("a proof from another size", wrong, "422", saying="consistency proof invalid")
        expect("an old size above the checkpoint's", offer(offers.true(256), 257), "400", saying="old size > current")
        expect("keys that are not the log's", offer(offers.other_key(258), 257), "403", saying="no valid signatures")
        other = SignedCheckpoint.parse(offers.world.small.checkpoint())
        expect("a log that it does not follow", offer(other, 0), "404", saying="unknown log")
        newest = offer(offers.newest(), 257)
        expect("the newest, after all that", newest, "200", cosigned=True)
        cosigned = offers.world.file("by-our-witness", offers.newest().encode() + newest.output)
        _others_verify(report, offers.world, witness, cosigned)


def _others_verify(report: Report, world: World, witness: Cosigner, cosigned: Path) -> None:
    """Have what our witness signed verified by those who know both kinds of keys."""
    python = TOOLS / "python"
    for vkey, name in zip(witness.vkeys, ("Ed25519", "ML-DSA-44"), strict=True):
        verified = run(python, DRIVERS / "scales.py", "checkpoint", vkey, cosigned)
        report.known("tlog-scales").accepts(f"the {name} cosignature of `attest witness`", verified)
        policy = f"log {world.vkeys[0]}\nwitness it {vkey} {witness.url}\nquorum it\n"
        met = run(OURS, "quorum", world.file("policy-ours", policy), stdin=cosigned.read_bytes())
        tessera = report.known("github.com/transparency-dev/tessera")
        tessera.accepts(f"the {name} cosignature of `attest witness`", met)


def _aics_client(report: Report, offers: Offers, where: Path) -> None:
    tool = report.tool(
        "client of aics-witness",
        python_version(AICS / "python", "aics-witness"),
        "Asks our witness, with proofs that aics-tlog makes from our log's tiles, and verifies the Ed25519 line.",
    )
    log = offers.world.large.url
    with attest_witness(where, offers.world.vkeys) as witness:

        def submit(signed: SignedCheckpoint, *old: int) -> Ran:
            file = offers.world.file("offered", signed.encode())
            return run(AICS / "python", DRIVERS / "feeder.py", "submit", witness.url, witness.ed25519, log, file, *old)

        def expect(what: str, done: Ran, *statuses: int, saying: str = "") -> None:
            found = [int(line) for line in done.said.split("\n") if re.fullmatch("[0-9]{3}", line)]
            ok = found == list(statuses) and (done.code == 0) is (statuses[-1] == 200) and saying in done.said
            tool.answers(
                what, " → ".join(map(str, statuses)) + (f": `{saying}`" if saying else ""), ok=ok, found=done.text
            )

        expect("a first cosignature", submit(offers.true(255)), 200)
        expect("a step, from a client that has forgotten where it stood", submit(offers.true(256)), 409, 200)
        expect("a step with a proof", submit(offers.true(257), 256), 200)
        expect("the same again, for a newer time", submit(offers.true(257), 257), 200)
        expect("an older checkpoint", submit(offers.true(256)), 409, saying="WitnessAhead")
        for what, signed, old, status in (
            ("another tree of the same size", offers.lie(257), 257, 422),
            ("another, larger tree", offers.lie(300), 257, 422),
            ("keys that are not the log's", offers.other_key(258), 257, 403),
        ):
            expect(what, submit(signed, old), status, saying="WitnessRejected")


def _tessera_log(report: Report, _: Offers, where: Path) -> None:
    tool = report.tool(
        "log of Tessera",
        go_version("github.com/transparency-dev/tessera"),
        "Asks our witness: a log that is not ours, with Tessera's client. It publishes nothing without a cosignature.",
    )
    skey, vkey = must(OURS, "key", "tessera.example/log").text.split()
    with attest_witness(where, (vkey,)) as witness:
        ed25519, mldsa44 = witness.vkeys

        def publish(directory: str, key: str, *lines: str) -> Ran:
            policy = where / "policy"
            policy.write_text("\n".join([*lines, ""]))
            return run(OURS, "publish", where / directory, key, policy, 3)

        one = (f"witness it {ed25519} {witness.url}", "quorum it")
        grown = publish("log", skey, *one)
        tool.accepts(
            "three entries, each in a checkpoint that our witness has cosigned", grown, saying="tessera.example"
        )
        again = publish("log", skey, f"witness it {mldsa44} {witness.url}", "quorum it")
        tool.accepts("the same log, started again, with our witness's ML-DSA-44 key", again, saying="tessera.example")
        lost = publish("another-log", skey, *one)
        tool.refuses(
            "another log under the same key, as after a loss of all data", lost, because="larger than log size"
        )
        unknown, _ = must(OURS, "key", "unknown.example/log").text.split()
        tool.refuses(
            "a log that it does not follow", publish("unknown", unknown, *one), because="checkpoint origin is unknown"
        )
