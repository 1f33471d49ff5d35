"""Proofs of logging in one file, `.tlog-proof`: an index, an inclusion path and the checkpoint they lead to.

    c2sp.org/tlog-proof@v1
    extra base64(extra)            only if there is any; nothing vouches for it
    index <decimal>
    base64(hash)                   0 to 63 lines, leaf side first
    (one empty line)
    <signed checkpoint>

Spec: C2SP tlog-proof; docs/spec/checkpoint.md#tlog-proof.
"""

from dataclasses import dataclass
from typing import Final, Self

from attest.encoding import Hash, encode_base64, parse_base64, parse_decimal
from attest.errors import Malformed
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.note import decode_text

MAX_PROOF: Final = 2 << 20  # bytes
MAX_PATH: Final = 63  # hashes

_HEADER: Final = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The claim that some entry is entry `index` of the tree under `signed`. Nothing in it is verified."""

    index: int  # zero-based
    path: tuple[Hash, ...]  # leaf side first, at most 63
    signed: SignedCheckpoint
    extra: bytes | None = None  # not empty; never trust it

    @classmethod
    def parse(cls, wire: bytes | str) -> Self:
        """Read a `.tlog-proof`.

        Raises:
            Malformed: `tlog-proof/size`, `tlog-proof/control-character`, `tlog-proof/blank-line`,
                `tlog-proof/header`, `tlog-proof/extra`, `tlog-proof/index`, `tlog-proof/path-length`, `encoding/…`,
                and what `SignedCheckpoint.parse` raises.
        """
        text = decode_text(wire, MAX_PROOF, "tlog-proof")
        # The checkpoint has an empty line of its own: the first one ends the head.
        head, blank, checkpoint = text.partition("\n\n")
        if not blank:
            raise Malformed("tlog-proof/blank-line", "no empty line before the checkpoint")
        header, *lines = head.split("\n")
        if header != _HEADER:
            raise Malformed("tlog-proof/header", f"want {_HEADER}, found {header[:40]!r}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = parse_base64(lines.pop(0).removeprefix("extra "))
            if not extra:
                raise Malformed("tlog-proof/extra", "an empty extra line, which has to be left out")
        if not lines or not lines[0].startswith("index "):
            raise Malformed("tlog-proof/index", "no index line")
        index = parse_decimal(lines.pop(0).removeprefix("index "))
        if len(lines) > MAX_PATH:
            raise Malformed("tlog-proof/path-length", f"want at most {MAX_PATH} hashes, found {len(lines)}")
        path = tuple(parse_base64(line, 32) for line in lines)
        return cls(index, path, SignedCheckpoint.parse(checkpoint), extra)

    def encode(self) -> bytes:
        """Write the `.tlog-proof`, byte by byte what C2SP's own tools write."""
        if self.extra == b"":
            raise ValueError("no extra data is None")
        extra = [] if self.extra is None else [f"extra {encode_base64(self.extra)}"]
        lines = [_HEADER, *extra, f"index {self.index}", *map(encode_base64, self.path), "", ""]
        return "\n".join(lines).encode() + self.signed.encode()
