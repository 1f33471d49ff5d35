"""Every byte of a cosigned checkpoint, a policy and a `.tlog-proof` counts: changed, it is refused with the code of its
place, or its line no longer counts. Nothing that was not signed is ever believed.
"""

from collections.abc import Iterator

import pytest

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.errors import AttestError, Malformed, Refuted, Untrusted
from attest.formats.checkpoint import Checkpoint, log_verifiers, sign_checkpoint
from attest.formats.cosignature import cosign_ed25519, cosign_mldsa44
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyGroup, PolicyLog, PolicyVerdict, PolicyWitness
from attest.formats.tlog_proof import TlogProof
from attest.merkle import tree

ORIGIN = "log.example/deletions"
LOG = SigningKey.from_seed(bytes(range(32)))
LOG_PQ = MLDSASigningKey.from_seed(bytes(range(1, 33)))
ED = SigningKey.from_seed(bytes(range(32, 64)))
PQ = MLDSASigningKey.from_seed(bytes(range(64, 96)))
TIME = 1_790_000_000

LEAVES = tree.leaf_hashes([f"entry-{n}".encode() for n in range(5)])
CHECKPOINT = Checkpoint(ORIGIN, 5, tree.root(LEAVES))
SIGNED = sign_checkpoint(CHECKPOINT, LOG, LOG_PQ, TIME).with_lines(
    [cosign_ed25519("wit.example/w1", ED, CHECKPOINT, TIME), cosign_mldsa44("wit.example/pq", PQ, CHECKPOINT, TIME)]
)
POLICY = Policy(
    tuple(PolicyLog(verifier) for verifier in log_verifiers(ORIGIN, LOG.public, LOG_PQ.public)),
    (
        PolicyWitness("one", NoteVerifier.of("wit.example/w1", KeyType.COSIGNATURE, ED.public), "https://one.example"),
        PolicyWitness("two", NoteVerifier.of("wit.example/pq", KeyType.MLDSA44, PQ.public), "https://two.example"),
    ),
    (PolicyGroup("both", 2, ("one", "two")),),
    "both",
)
WIRE = SIGNED.encode()
WHOLE = POLICY.check(WIRE)

# Every byte of what is short; of the long post-quantum lines every 97th, and all near their ends.
EDGE = 60


def changes(wire: bytes, start: int, end: int) -> Iterator[bytes]:
    """Change, remove and repeat single bytes."""
    for at in range(start, end):
        if at - start > EDGE and end - at > EDGE and end - start > 1000 and at % 97:
            continue
        for flip in (0x01, 0x20, 0x80):
            yield wire[:at] + bytes([wire[at] ^ flip]) + wire[at + 1 :]
        yield wire[:at] + wire[at + 1 :]
        yield wire[:at] + wire[at : at + 1] + wire[at:]


def outcome(wire: bytes) -> PolicyVerdict | AttestError:
    try:
        return POLICY.check(wire)
    except (Malformed, Refuted, Untrusted) as error:
        return error


def test_what_the_log_signed_cannot_be_changed() -> None:
    """Origin, size, root, line ends: no known key stands behind anything else."""
    end = WIRE.index(b"\n\n") + 1
    codes = set()
    for changed in changes(WIRE, 0, end):
        found = outcome(changed)
        assert isinstance(found, AttestError), changed[:end]
        codes.add(found.code)
    assert codes == {
        "signature/invalid", "checkpoint/lines", "checkpoint/extension", "encoding/utf8", "encoding/decimal",
        "encoding/base64", "note/control-character", "note/blank-line",
    }  # fmt: skip


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_changed_line_is_refused_or_counts_no_more(line: int) -> None:
    """In the signature it is a forgery; in the name or key ID it is a line of somebody unknown."""
    lines = SIGNED.note.signatures
    start = WIRE.index("—".encode(), WIRE.index(b"\n\n"))
    for before in lines[:line]:
        start += len(before.encode().encode()) + 1
    end = start + len(lines[line].encode().encode()) + 1
    codes, lost = set(), 0
    for changed in changes(WIRE, start, end):
        found = outcome(changed)
        if isinstance(found, AttestError):
            codes.add(found.code)
            continue
        lost += 1
        assert found.checkpoint == CHECKPOINT
        verdicts = (set(found.logs), {each.key for each in found.witnesses})
        whole = (set(WHOLE.logs), {each.key for each in WHOLE.witnesses})
        assert verdicts != whole, "a changed line counts as it was"
        assert verdicts[0] <= whole[0] and verdicts[1] <= whole[1]
        assert found.quorum == (len(found.witnesses) == 2)
    assert lost
    assert {"signature/invalid", "encoding/base64"} <= codes
    assert codes <= {
        "signature/invalid", "encoding/base64", "encoding/utf8", "note/signature-line", "note/name", "note/blank-line",
        "note/control-character", "note/final-newline", "note/signatures",
        "checkpoint/lines", "checkpoint/extension", "cosignature/time",
    }  # fmt: skip


def test_a_changed_policy_trusts_no_other_key() -> None:
    """A vkey names its own key ID; a changed byte elsewhere is another spelling, name, URL or number, or refused."""
    wire = POLICY.encode()
    keys = {each.verifier.public for each in (*POLICY.logs, *POLICY.witnesses)}
    names = {each.verifier.name for each in (*POLICY.logs, *POLICY.witnesses)}
    codes = set()
    for changed in changes(wire, 0, len(wire)):
        try:
            found = Policy.parse(changed)
        except Malformed as error:
            codes.add(error.code)
            continue
        verifiers = [each.verifier for each in (*found.logs, *found.witnesses)]
        assert {each.public for each in verifiers} <= keys
        assert {each.name for each in verifiers} <= names
    assert {"note/key-id", "encoding/base64", "policy/keyword", "policy/undefined"} <= codes
    assert {code.partition("/")[0] for code in codes} <= {"policy", "note", "encoding", "key"}


def test_a_changed_proof_shows_nothing_else() -> None:
    """Index, path, checkpoint: refused, or another index that the path does not fit."""
    leaf = LEAVES[4]
    proof = TlogProof(4, tuple(tree.inclusion_path(4, 5, tree.subtree_reader(LEAVES))), SIGNED)
    wire = proof.encode()
    end = wire.index("—".encode())
    codes = set()
    for changed in changes(wire, 0, end):
        try:
            found = TlogProof.parse(changed)
            checkpoint = POLICY.check(found.signed).checkpoint
            tree.verify_inclusion(leaf, found.index, checkpoint.size, checkpoint.root, found.path)
        except (Malformed, Refuted, Untrusted) as error:
            codes.add(error.code)
        else:
            pytest.fail(f"accepted: {changed[:end]!r}")
    assert {"proof/header", "signature/invalid", "inclusion/root"} & codes
    assert {code.partition("/")[0] for code in codes} <= {
        "proof", "tlog-proof", "encoding", "inclusion", "signature", "checkpoint", "note",
    }  # fmt: skip
