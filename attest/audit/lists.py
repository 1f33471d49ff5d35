"""What a log publishes of each party, written again into a copy, from what the audit has checked.

Spec: docs/spec/holder.md.
"""

from collections.abc import Sequence

from attest.audit.source import Mirror
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.holder import Listed, PartyProof, encode_list, list_path, parse_list, proof_path
from attest.formats.statement import Statement
from attest.ledger.epoch import Ledger
from attest.ledger.evidence.exhibit import Shown
from attest.merkle.tiles import FULL


class PartyLists:
    """The lists of all parties, from where the copy has them so far."""

    def __init__(self, mirror: Mirror, before: Ledger) -> None:
        """Begin.

        Args:
            before: where the replay begins.
        """
        self._mirror = mirror
        self._before = before
        self._counts: dict[str, int] = {}  # entries of each party that has new ones; those of the others are there
        self._open: dict[str, list[Listed]] = {}  # of the file that is not full

    def add(self, position: int, statement: Statement) -> None:
        """Take an accepted entry."""
        parties = {statement.issuer.removeprefix("https://"), statement.about} - {statement.audience, None}
        for party in parties:
            listed = self._file(str(party))
            listed.append((position, statement.entry))
            self._counts[str(party)] += 1
            if len(listed) == FULL:
                self._mirror.write(list_path(str(party), self._counts[str(party)] // FULL - 1), encode_list(listed))
                listed.clear()

    def finish(self, signed: SignedCheckpoint, ledger: Ledger, ends: Sequence[Shown]) -> None:
        """Write what is not full, and where every party stands.

        Args:
            ends: entry 0 and the last.
        """
        for party, listed in self._open.items():
            # A copy that was begun without them has no beginning of this list: whoever reads it scans.
            if listed and len(listed) == self._counts[party] % FULL:
                path = list_path(party, self._counts[party] // FULL, len(listed))
                self._mirror.write(path, encode_list(listed))
        log = ledger.parties[ledger.origin]
        own = log.encode(), ledger.top.prove(log.key()).encode()
        for party, head in ledger.parties.items():
            if head.log is not None:
                continue
            proof = PartyProof(
                signed,
                tuple((each.position, each.entry, tuple(each.path)) for each in ends),
                head.encode(),
                ledger.top.prove(head.key()).encode(),
                own,
                tuple(
                    (system.encode(), ledger.descriptors[party, system.system].encode())
                    for system in ledger.systems_of(party)
                ),
            )
            self._mirror.write(proof_path(party), proof.encode())

    def _file(self, party: str) -> list[Listed]:
        if party not in self._open:
            head = self._before.party(party)
            count = self._counts[party] = 0 if head is None else head.entries
            width = count % FULL
            kept = self._mirror.kept(list_path(party, count // FULL, width)) if width else None
            self._open[party] = [] if kept is None else parse_list(kept)
        return self._open[party]
