"""The archive of test vectors: complete, checkable, and the same bytes whoever makes it."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tools import vectors

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive as `make vectors` writes it."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, str(ROOT / "tools/vectors.py"), "--output", str(target)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    (path,) = target.iterdir()
    assert said == [hashlib.sha256(path.read_bytes()).hexdigest(), str(path)]
    return path


def test_the_same_content_is_the_same_archive(archive: Path, tmp_path: Path) -> None:
    """Whatever the times, modes and order of the files, and where they are; another byte is another archive."""
    copy = tmp_path / "elsewhere"
    names = sorted((path for path in vectors.VECTORS.rglob("*") if path.is_file()), reverse=True)
    for n, path in enumerate(names):
        there = copy / path.relative_to(vectors.VECTORS)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
        there.chmod(0o600 if n % 2 else 0o755)
        os.utime(there, (n, n))

    same = vectors.pack(vectors.read_files(copy, ROOT / "LICENSE"))
    (copy / "rows/files.json").write_bytes((copy / "rows/files.json").read_bytes() + b"\n")
    other = vectors.pack(vectors.read_files(copy, ROOT / "LICENSE"))

    assert same == archive.read_bytes()
    assert other != same


def test_every_vector_is_in_it_and_nothing_of_this_machine(archive: Path) -> None:
    """Sorted regular files under one folder that names the version; the manifest has the digest of each."""
    version = (vectors.VECTORS / "VERSION").read_text().strip()
    assert archive.name == f"attest-vectors-{version}.tar.gz"
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        content = {member.name.partition("/")[2]: opened.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    assert [member.name for member in members] == sorted(f"attest-vectors-{version}/{name}" for name in content)
    assert {(m.type, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {
        (tarfile.REGTYPE, 0o644, 0, 0, "", "", vectors.WHEN)
    }
    listed = dict(reversed(line.split("  ")) for line in content["MANIFEST"].decode().splitlines())
    assert listed == {name: hashlib.sha256(each).hexdigest() for name, each in content.items() if name != "MANIFEST"}
    tracked = {path.relative_to(vectors.VECTORS).as_posix() for path in vectors.VECTORS.rglob("*") if path.is_file()}
    assert content.keys() - {"MANIFEST", "LICENSE"} == {name for name in tracked if not name.endswith((".py", ".pyc"))}
    assert len(content) > 60 and {"README.md", "LICENSE", "transition/ended.json"} <= content.keys()


def test_the_manifest_is_what_sha256sum_reads(archive: Path, tmp_path: Path) -> None:
    """Whoever unpacks it checks it with a tool of their own."""
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    (place,) = tmp_path.iterdir()
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "MANIFEST"], cwd=place, check=True)


def test_what_does_not_belong_is_not_packed(tmp_path: Path) -> None:
    """A stray file, or a version that is none, stops it."""
    (tmp_path / "VERSION").write_text("1.2\n")
    with pytest.raises(ValueError, match="three numbers"):
        vectors.pack(vectors.read_files(tmp_path, ROOT / "LICENSE"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="neither a vector"):
        vectors.read_files(tmp_path, ROOT / "LICENSE")
