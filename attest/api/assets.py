"""Files that pages load: styles, scripts, icons. Read once, served under the digest of all of them."""

import gzip
from pathlib import Path
from typing import Final, NamedTuple

from attest.encoding import sha256
from attest.errors import Conflict

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOLDERS: Final = ("static", "dist")


class Asset(NamedTuple):
    """A file, ready to be sent."""

    content: bytes
    compressed: bytes
    content_type: str


class Assets:
    """All of them. Their addresses change when any of them does, so they can be kept for ever."""

    def __init__(self, web: Path) -> None:
        """Read what is in `web`. Raises `FileNotFoundError` where an installation lacks it."""
        self._files: dict[str, Asset] = {}
        digest = b""
        for path in sorted(path for folder in _FOLDERS for path in (web / folder).rglob("*")):
            if path.suffix in _TYPES and path.is_file():
                name, content = path.relative_to(web).as_posix(), path.read_bytes()
                self._files[name] = Asset(content, gzip.compress(content, 9, mtime=0), _TYPES[path.suffix])
                digest = sha256(digest + name.encode() + sha256(content))
        self.version = digest.hex()[:12]

    def url(self, name: str) -> str:
        """Return the address of a file. Raises `KeyError`: there is none of this name."""
        self._files[name]
        return f"/assets/{self.version}/{name}"

    def get(self, name: str) -> Asset:
        """Return a file. Raises `Conflict`: `asset/unknown`."""
        found = self._files.get(name)
        if found is None:
            raise Conflict("asset/unknown", "no page loads a file of this name", hint="load the page again")
        return found
