"""Write the test vectors as one archive, the same bytes for the same content: `make vectors`.

    dist/attest-vectors-<version>.tar.gz

In it everything has a fixed owner, mode and time, and stands in the order of its name; MANIFEST lists the SHA-256 of
every other file as `sha256sum -c` reads it. The version is that of tests/vectors/VERSION.
"""

import argparse
import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "tests/vectors"
VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")
SUFFIXES = {".json", ".bundle", ".keepsake"}
PAGES = {"README.md", "VERSION"}
LEFT_OUT = {".py", ".pyc"}  # what writes the vectors
WHEN = 315_532_800  # 1980-01-01, the least time that every archive format knows


def read_files(vectors: Path, license_file: Path) -> dict[str, bytes]:
    """Return what goes into the archive, by name. Raises `ValueError` for a file that should not be there."""
    found = {"LICENSE": license_file.read_bytes()}
    for path in vectors.rglob("*"):
        name = path.relative_to(vectors).as_posix()
        if path.is_dir() or path.suffix in LEFT_OUT:
            continue
        if path.suffix not in SUFFIXES and name not in PAGES:
            raise ValueError(f"{path}: neither a vector nor a page about them")
        found[name] = path.read_bytes()
    found["MANIFEST"] = manifest(found)
    return found


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the lines that `sha256sum -c` checks."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def version_of(files: Mapping[str, bytes]) -> str:
    """Return the version. Raises `ValueError`."""
    version = files["VERSION"].decode().removesuffix("\n")
    if not VERSION.fullmatch(version):
        raise ValueError(f"tests/vectors/VERSION: want three numbers, found {version!r}")
    return version


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive."""
    top = f"attest-vectors-{version_of(files)}"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size, member.mtime, member.mode = len(files[name]), WHEN, 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    packed = io.BytesIO()
    # Neither a name nor a time in the header.
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=9, mtime=0) as compressed:
        compressed.write(tar.getvalue())
    return packed.getvalue()


def main() -> None:
    """Write the archive and print its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the directory; dist by default")
    target: Path = parser.parse_args().output
    files = read_files(VECTORS, ROOT / "LICENSE")
    archive = pack(files)
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"attest-vectors-{version_of(files)}.tar.gz"
    path.write_bytes(archive)
    print(f"{hashlib.sha256(archive).hexdigest()}  {path}")


if __name__ == "__main__":
    main()
