"""Evidence: a file in which anybody finds a lie again, with a policy and nothing else.

An exhibit is what was found; each kind of exhibit knows how to be looked at anew, and what it then shows. Whether it
shows it of the log, or only of bytes that somebody says the log has served, is part of the answer.

Spec: docs/spec/evidence.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from attest.encoding import Hash, check_items, decode_cbor, encode_cbor, sha256
from attest.errors import Malformed, Refuted
from attest.formats.checkpoint import SignedCheckpoint, verify_log_signatures
from attest.formats.policy import Policy
from attest.ledger.evidence.contradictions import Contradiction
from attest.ledger.evidence.epochs import BadEpoch
from attest.ledger.evidence.exhibit import Exhibit, Sight, shaped
from attest.ledger.evidence.files import BadFile, BadRows, BadTree
from attest.ledger.evidence.notes import BadNote, Fork, Older, Silence
from attest.ledger.evidence.parties import BadParty

FORMAT: Final = "attest-evidence/1"
MAX_EVIDENCE: Final = 1 << 30  # bytes
_MAX_ITEMS: Final = 1 << 16

_SHAPE: Final = {"format": str, "kind": str, "code": str, "message": str, "checkpoint": bytes, "exhibit": dict}
_KINDS: Final[Mapping[str, Callable[[Any], Exhibit]]] = {
    BadNote.KIND: BadNote.read,
    Fork.KIND: Fork.read,
    Older.KIND: Older.read,
    Silence.KIND: Silence.read,
    BadEpoch.KIND: BadEpoch.read,
    BadFile.KIND: BadFile.read,
    BadRows.KIND: BadRows.read,
    BadTree.KIND: BadTree.read,
    BadParty.KIND: BadParty.read,
    Contradiction.KIND: Contradiction.read,
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A checkpoint that a log has signed, and what is wrong with it or below it."""

    signed: SignedCheckpoint
    code: str
    message: str
    exhibit: Exhibit

    def check(self, policy: Policy) -> Sight:
        """Find the lie again.

        Raises:
            Refuted: `evidence/differs`, another fault than the one named, or none. And what says that it was not this
                log which signed: `signature/…`, `inclusion/…`, `consistency/…`.
            Untrusted: `checkpoint/unsigned`.
            Malformed, Unavailable: the evidence is not whole.
        """
        if isinstance(self.exhibit, BadNote):
            seen = self.exhibit.weigh(self.signed, policy)
        else:
            verify_log_signatures(self.signed, [log.verifier for log in policy.logs])
            for other in self._others():
                verify_log_signatures(other, [log.verifier for log in policy.logs])
            seen = self.exhibit.look(self.signed, self.code)
        if seen.refusal.code != self.code or self.code == "none":
            raise Refuted("evidence/differs", f"kept as {self.code}, found {seen.refusal.code}")
        return seen

    def _others(self) -> list[SignedCheckpoint]:
        if isinstance(self.exhibit, Fork):
            return [self.exhibit.other]
        return [self.exhibit.newer] if isinstance(self.exhibit, Older) else []

    def digest(self) -> Hash:
        """Return a name for this lie: the same under every checkpoint that it is shown under."""
        return sha256(encode_cbor([self.signed.checkpoint.origin, self.code, *self.exhibit.identity()]))

    def encode(self) -> bytes:
        """Write the file: deterministic CBOR."""
        return encode_cbor(
            {
                "format": FORMAT,
                "kind": self.exhibit.KIND,
                "code": self.code,
                "message": self.message,
                "checkpoint": self.signed.encode(),
                "exhibit": self.exhibit.fields(),
            }
        )

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read a file; nothing in it is checked. Raises `Malformed`: `evidence/…`, `cbor/…`, and those of its parts."""
        if len(encoded) > MAX_EVIDENCE:
            raise Malformed("evidence/size", f"more than {MAX_EVIDENCE} bytes")
        check_items(encoded, _MAX_ITEMS)
        found = shaped(decode_cbor(encoded), _SHAPE)
        if found["format"] != FORMAT or found["kind"] not in _KINDS:
            raise Malformed("evidence/format", f"want {FORMAT} of a known kind")
        exhibit = _KINDS[found["kind"]](found["exhibit"])
        return cls(SignedCheckpoint.parse(found["checkpoint"]), found["code"], found["message"], exhibit)


def is_evidence(encoded: bytes) -> bool:
    """Tell whether a file says that it is evidence; it may be broken all the same."""
    return encode_cbor("format") + encode_cbor(FORMAT) in encoded[:4096]
