"""A party whose list, statements or heads do not hold together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from attest.encoding import Hash
from attest.errors import AttestError, Refuted, Unavailable
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.holder import PartyProof, parse_list
from attest.formats.rows import rows_root
from attest.ledger.evidence.exhibit import Sight, members, one_hash, shaped
from attest.ledger.holder import replay_party

LIST: Final = "holder/list"


@dataclass(frozen=True, slots=True)
class BadParty:
    """A party's proof, the list of its entries, and the row files that its replay reads."""

    KIND: ClassVar[str] = "party"
    party: str
    only: str | None  # the one system whose rows are replayed
    proof: bytes  # `PartyProof`
    listed: bytes  # as in the files of a list
    rows: Mapping[Hash, bytes]

    def identity(self) -> list[Any]:
        """See `Exhibit`."""
        return [self.party, self.only, self.listed]

    def look(self, signed: SignedCheckpoint, code: str) -> Sight:
        """See `Exhibit`."""
        proof = PartyProof.parse(self.proof)
        if proof.signed.checkpoint != signed.checkpoint:
            raise Refuted("evidence/differs", "the proof is of another checkpoint")
        try:
            replay_party(proof, self.party, parse_list(self.listed), self._row_file, self.only)
        except Unavailable:
            raise
        except AttestError as error:
            # A list is what somebody says that the log has served; whatever the right list leads to, is committed.
            # No statement is wrong because of bytes that it does not name.
            named = all(rows_root(rows) == root for root, rows in self.rows.items())
            return Sight(error, committed=named and error.code.partition("/")[0] in ("rule", "epoch", "rows"))
        return Sight(Refuted("none", f"{self.party} holds together"), committed=True)

    def _row_file(self, root: Hash) -> bytes:
        found = self.rows.get(root)
        if found is None:
            raise Unavailable("rows/missing", f"row file {root.hex()} is not kept here")
        return found

    def fields(self) -> dict[str, Any]:
        """See `Exhibit`."""
        return {
            "party": self.party,
            "only": self.only,
            "proof": self.proof,
            "listed": self.listed,
            "rows": [[root, rows] for root, rows in self.rows.items()],
        }

    @classmethod
    def read(cls, found: Any) -> Self:
        """Read what `fields` returns."""
        shape = {"party": str, "only": (str, type(None)), "proof": bytes, "listed": bytes, "rows": list}
        found = shaped(found, shape)
        rows = [members(each, bytes, bytes) for each in found["rows"]]
        return cls(
            found["party"],
            found["only"],
            found["proof"],
            found["listed"],
            {one_hash(root): content for root, content in rows},
        )
