"""A state witness of an operator in memory, whose process may end at any moment and begin again."""

from pathlib import Path

import pytest

from attest.errors import AttestError
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import Policy, PolicyLog
from attest.ledger.evidence import Evidence
from attest.ledger.evidence.exhibit import Sight
from attest.served import Log
from attest.store.anchors import AnchorStore, anchors
from attest.store.blobs import Blobs, DirectoryBlobs
from attest.store.db import Database
from attest.witness.state import StateAssessor
from attest.witness.walk import Anchors
from tests.ledger.model import Key
from tests.witness.lies import Operator


class StateWitness:
    """What it keeps is in a directory; `open` begins a process."""

    def __init__(self, operator: Operator, directory: Path) -> None:
        self.operator = operator
        self.log: Log = operator  # as it is reached
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.db = Database(f"sqlite:///{directory}/state.db", "witness")
        anchors.metadata.create_all(self.db.engine)
        self.anchors: Anchors = AnchorStore(self.db)
        self.blobs: Blobs = DirectoryBlobs(directory)
        self.now: float | None = None
        self.open()

    def open(self, **settings) -> StateAssessor:
        """Begin, as after a restart."""
        self.assessor = StateAssessor(
            lambda _: self.log,
            self.blobs,
            self.anchors,
            self.directory / "evidence",
            clock=lambda: self.operator.log.time if self.now is None else self.now,
            **{"wait_s": 60, **settings},
        )
        return self.assessor

    def assess(self, size: int | None = None) -> None:
        """Offer a checkpoint, by default the newest."""
        self.assessor.assess(self.operator.log.origin, self.operator.signed(size))

    def refuses(self, size: int | None = None) -> AttestError:
        """Offer a checkpoint that is refused."""
        with pytest.raises(AttestError) as caught:
            self.assess(size)
        return caught.value

    @property
    def size(self) -> int:
        """How far it has checked, as a restart would find it."""
        anchor = AnchorStore(self.db).read(self.operator.log.origin)
        return 0 if anchor is None else anchor.size

    def evidence(self) -> list[Path]:
        """Where it has kept evidence."""
        return sorted((self.directory / "evidence").glob("*/*"))

    @property
    def policy(self) -> Policy:
        """What a third party knows: the log's key."""
        origin = self.operator.log.origin
        verifier = NoteVerifier.of(origin, KeyType.ED25519, Key(origin + " note").public)
        return Policy((PolicyLog(verifier),), (), (), None)

    def kept(self) -> list[Evidence]:
        """Read all evidence."""
        return [Evidence.parse(place.read_bytes()) for place in self.evidence()]

    def finding(self) -> Sight:
        """Repeat the one refusal from the file alone."""
        [evidence] = self.kept()
        return evidence.check(self.policy)
