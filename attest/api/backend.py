"""What HTTP asks of a node, and no more."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from attest.browse import Browse
from attest.encoding import Hash
from attest.errors import AttestError
from attest.formats.statement import Log

View: TypeAlias = Mapping[str, Any]
"""A JSON value of docs/spec/http.md, ready to be written."""


class Submission(Protocol):
    """What became of a statement so far."""

    @property
    def leaf(self) -> Hash:
        """Its leaf hash; base64url of it is the entry id."""

    @property
    def state(self) -> str:
        """`rows`: waits for its row file. `pending`: promised. `entry`: published. `refused`: by a rule."""

    @property
    def rows_root(self) -> Hash | None:
        """The row file it names."""

    @property
    def promise(self) -> bytes | None:
        """The log's signed promise, once nothing is missing."""

    @property
    def refusal(self) -> bytes | None:
        """The log's signed refusal."""

    @property
    def error(self) -> AttestError | None:
        """Why it was refused."""


class Node(Protocol):
    """The log behind the URLs. Every method may raise an `AttestError`; `None` means there is no such thing."""

    @property
    def origin(self) -> str: ...

    @property
    def genesis(self) -> Log: ...

    @property
    def browse(self) -> Browse:
        """What there is to look at."""

    def submit(self, entry: bytes) -> Submission:
        """Judge a statement as far as possible and queue it."""

    def put_rows(self, root: Hash, rows: bytes) -> Sequence[Submission]:
        """Take the row file that these submissions wait, or waited, for."""

    def submission(self, leaf: Hash) -> Submission | None:
        """Return what is known of a statement, published or not."""

    def wait(self, leaf: Hash, timeout_s: float) -> Submission:
        """Wait until a submission is published or refused, at most `timeout_s`."""

    def statement(self, leaf: Hash) -> bytes | None: ...

    def receipt(self, leaf: Hash) -> bytes:
        """Return a COSE receipt of a published statement."""

    def tlog_proof(self, leaf: Hash) -> str: ...

    def blob(self, name: str) -> bytes | None:
        """Return `checkpoint`, a tile by its path, or `rows/<lower-hex root>`."""

    def policy(self) -> bytes: ...

    def state_policy(self) -> bytes | None: ...

    def party_proof(self, party: str) -> bytes:
        """Return where a party stands, down from a checkpoint."""

    def party_list(self, party: str, index: int, width: int) -> bytes:
        """Return a file of the list of a party's entries."""

    def lookup(self, holder: str, locators: list[dict[str, Hash]], size: int | None) -> View: ...

    def row_proof(self, leaf: Hash, index: Hash, size: int | None) -> View: ...

    def transition(self, epoch: int) -> bytes | None: ...

    def ended(self) -> bool: ...

    def healthy(self) -> None:
        """Return if the node can serve. Raises `Unavailable`."""
