"""No evidence can be made of an honest log, whatever is put around what it has signed."""

from dataclasses import replace

import cbor2
import pytest

from attest.errors import AttestError
from attest.formats.note import KeyType, NoteVerifier, SignatureLine
from attest.formats.rows import RowFile, prove_row
from attest.formats.statement import Statement
from attest.ledger.evidence import Evidence
from attest.ledger.evidence.contradictions import Contradiction
from attest.ledger.evidence.epochs import BadEpoch
from attest.ledger.evidence.exhibit import Shown
from attest.ledger.evidence.notes import BadNote
from attest.ledger.transition import Anchor
from attest.merkle import tree
from tests.audit.published import policy
from tests.ledger import model
from tests.ledger.log import MLDSA, ORIGIN, Log, log_fields, row_of, rows_of
from tests.ledger.model import Key
from tests.witness.lies import ACME, Operator, busy, stage


def honest() -> tuple[Operator, Anchor]:
    """A log that has told no lie, and where its last epoch begins."""
    log = busy()
    anchor = Anchor.of(log.ledger)
    log.epoch()
    return Operator(log), anchor


def shown(operator: Operator, position: int) -> Shown:
    leaves = tree.leaf_hashes(operator.entries)
    path = tree.inclusion_path(position, len(leaves), tree.subtree_reader(leaves))
    return Shown(position, operator.entries[position], tuple(path))


def exhibit(operator: Operator, anchor: Anchor, **changed) -> BadEpoch:
    """The last epoch as it is, with everything that proves what it is."""
    number = max(operator.proofs)
    found = {
        "anchor": anchor,
        "epoch": number,
        "transition": operator.proofs[number],
        "rows": dict(operator.log.files),
        "root": operator.signed().checkpoint.root,
        "path": (),
        "shown": [shown(operator, at) for at in (0, anchor.size - 1)] if anchor.size else [],
        **changed,
    }
    return BadEpoch(**found)


def accuse(operator: Operator, code: str, found, signed=None) -> None:
    """Check that a file which names this code shows nothing that the log has signed."""
    made = Evidence(signed or operator.signed(), code, "framed", found)
    try:
        seen = Evidence.parse(made.encode()).check(policy())
    except AttestError:
        return
    assert not seen.committed


def proof_of(operator: Operator, **changed) -> bytes:
    return model.det({**cbor2.loads(operator.proofs[max(operator.proofs)]), **changed})


@pytest.mark.parametrize("code", ["rows/order", "rows/root", "rows/count", "rows/size", "rows/missing", "none"])
@pytest.mark.parametrize(
    "spoil", [lambda _: b"", lambda f: f[:-1], lambda f: f[:-64], lambda f: f[::-1], lambda f: f + f, lambda f: f]
)
def test_row_files_that_nobody_named_accuse_nobody(code, spoil):
    """A garbled file is not the one under the signed root."""
    operator, anchor = honest()
    rows = {root: spoil(file) for root, file in operator.log.files.items()}
    accuse(operator, code, exhibit(operator, anchor, rows=rows))
    accuse(operator, code, exhibit(operator, anchor, rows={}))


PROOFS = {
    "transition/party-head": lambda proof: {"heads": proof["heads"][1:]},
    "transition/missing": lambda proof: {"holders": []},
    "transition/after": lambda proof: {"after": proof["after"][1:]},
    "head/fields": lambda proof: {"heads": [model.det({"x": 0}), *proof["heads"]]},
    "cbor/truncated": lambda proof: {"heads": [b"\xa1", *proof["heads"]]},
    "cbor/trailing": lambda proof: {"heads": [b"\x00\x00", *proof["heads"]]},
    "transition/root": lambda proof: {"top": b"\x00"},
    "transition/entries": lambda proof: {"entries": proof["entries"][:-1]},
    "transition/states": lambda proof: {
        "holders": [
            {**each, "systems": [{**system, "states": b"x"} for system in each["systems"]]} for each in proof["holders"]
        ]
    },
    "statement/field": lambda proof: {
        "holders": [
            {**each, "systems": [{**system, "descriptor": b"\xa0"} for system in each["systems"]]}
            for each in proof["holders"]
        ]
    },
    "pruned/touched-hash": lambda proof: {"top": b"\x01" + Statement.parse(proof["previous"]).payload.root},
}


@pytest.mark.parametrize("code", PROOFS)
def test_a_proof_that_is_wrong_accuses_nobody(code):
    """Nobody has signed it, though its entries are under the checkpoint."""
    operator, anchor = honest()
    proof = cbor2.loads(operator.proofs[max(operator.proofs)])
    made = exhibit(operator, anchor, transition=proof_of(operator, **PROOFS[code](proof)))
    refusal, _ = made._refuse(operator.signed(), code)
    assert refusal.code != "none"
    for each in {code, refusal.code}:
        accuse(operator, each, made)


def test_two_epochs_in_one_proof_accuse_nobody():
    """An epoch before the end is one of another proof."""
    operator, anchor = honest()
    operator.log.epoch()
    operator.publish(operator.log.proofs[-1])
    number = max(operator.proofs) - 1
    proof = cbor2.loads(operator.proofs[number])
    proof["entries"] = operator.entries[anchor.size :]
    accuse(operator, "transition/entries", exhibit(operator, anchor, transition=model.det(proof)))


def test_an_anchor_is_no_word_of_the_log():
    """What a witness says to have seen refutes nobody, with or without a proof that starts there."""
    operator, anchor = honest()
    other = replace(anchor, root=bytes(32))
    for code in ("log/fork", "transition/start"):
        for transition in (None, operator.proofs[max(operator.proofs)]):
            accuse(operator, code, exhibit(operator, other, transition=transition))
    forged = proof_of(operator, frontier=[bytes(32)] * len(anchor_frontier(anchor.size)))
    root = tree.Frontier.parse(anchor.size, [bytes(32)] * len(anchor_frontier(anchor.size))).root()
    accuse(operator, "log/fork", exhibit(operator, replace(anchor, root=root), transition=forged))


def anchor_frontier(size: int) -> str:
    return bin(size)[2:].replace("0", "")


def test_an_anchor_stands_behind_an_epoch():
    """Behind any other entry nothing would be committed, and the next honest one would be against the rules."""
    operator, anchor = honest()
    size = anchor.size + 1
    entry = operator.entries[size - 1]
    leaves = tree.leaf_hashes(operator.entries[:size])
    moved = Anchor(anchor.genesis, size, tree.root(leaves), Statement.parse(entry))
    proof = proof_of(
        operator,
        size=size,
        frontier=model.frontier(operator.entries[:size]),
        previous=entry,
        entries=operator.entries[size:],
        top=b"\x00",
        heads=[],
        holders=[],
    )
    found = exhibit(operator, moved, transition=proof, shown=[shown(operator, at) for at in (0, size - 1)])
    for code in ("rule/genesis", "rule/issuer", "rule/key"):
        accuse(operator, code, found)


def test_a_log_of_somebody_else_accuses_nobody():
    """Entry 0 under the checkpoint says whose log it is, not entry 0 of a proof."""
    operator, _ = honest()
    thief = Log(begin=False)
    keys = {
        "statements": Key("thief").public,
        "receipts": Key("thief receipts").public,
        "note_ed25519": Key("thief note").public,
        "note_mldsa44": MLDSA,
    }
    thief.add(thief.sign(log_fields(ORIGIN, keys=keys), key="thief"))
    epoch = thief.encode({**thief.epoch_fields(), "time": thief.time + 1}, iat=thief.time + 1, key="thief")
    proof = thief.force(epoch=epoch)
    size = len(cbor2.loads(proof)["entries"])
    root, path = tree.root(tree.leaf_hashes(operator.entries[:size])), operator.consistency(size, len(operator.entries))
    found = exhibit(
        operator, Anchor.empty(), epoch=0, transition=proof, root=root, path=path, shown=[shown(operator, 0)]
    )
    for code in ("genesis/keys", "genesis/origin", "log/fork"):
        accuse(operator, code, found)


def test_a_line_that_anybody_can_add_accuses_nobody():
    """A key that entry 0 names need not be one that the policy pins."""
    operator, _ = honest()
    key_id = NoteVerifier.of(ORIGIN, KeyType.MLDSA44, MLDSA).key_id
    signed = operator.signed().with_lines([SignatureLine(ORIGIN, key_id, bytes(8 + 2420))])
    found = exhibit(operator, Anchor.empty(), transition=None, shown=[shown(operator, 0)], root=None, path=None)
    accuse(operator, "genesis/keys", found, signed)


def test_a_rule_set_that_is_not_known_accuses_nobody():
    """Whoever does not know it cannot decide."""
    log = stage().copy()
    policy_entry = log.encode({"kind": "policy/1", "name": "attest-rules/2", "digest": bytes(32)})
    anchor = Anchor.of(log.ledger)
    operator = Operator(log)
    operator.publish(log.force(policy_entry))
    accuse(operator, "rule/unknown-rules", exhibit(operator, anchor))


def test_signatures_left_out_accuse_nobody():
    """Of witnesses or of the log: the file is undecided, not refuted."""
    operator, _ = honest()
    for signed in (operator.signed(), operator.signed(key="thief")):
        for code in ("checkpoint/quorum", "checkpoint/unsigned"):
            accuse(operator, code, BadNote(), signed)


def test_a_record_collected_anew_does_not_contradict_its_holder():
    """Erased, collected again and then corrected: who leaves the middle out proves nothing."""
    log = stage().copy()
    for version, cause in ((0, "collected"), (1, "corrected")):
        log.hold(ACME, "db", row_of(3, version), cause=cause)
        log.epoch()
    operator = Operator(log)
    found = [
        (position, statement, log.files[statement.payload.root])
        for position, statement in enumerate(map(Statement.parse, operator.entries))
        if getattr(statement.payload, "root", None) in log.files
    ]
    index = next(iter(rows_of(3)))
    told = [each for each in found if index in each[2] and each[1].stream == "db"]
    erased, corrected = told[1], told[-1]
    admitted = next(
        n for n, entry in enumerate(operator.entries) if getattr(Statement.parse(entry).payload, "id", "") == ACME
    )
    proofs = [prove_row(file := RowFile.parse(each[2]), file.indexes.index(index)) for each in (erased, corrected)]
    made = Contradiction(
        (shown(operator, admitted),) * 2, tuple(shown(operator, each[0]) for each in (erased, corrected)), tuple(proofs)
    )
    assert made.look(operator.signed(), "holder/went-on").refusal.code == "holder/went-on"
    accuse(operator, "holder/went-on", made)
