"""The company's run over a table of 200,000 people: first time, again, changed, erased. Real process, real vault."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from attest.formats.statement import Descriptor
from attest.holder.home import Settings
from attest.holder.indexing import Indexer
from attest.holder.sdk import Holder
from attest.holder.sources import CsvFile, Template, locate

_ATTEST = Path(sys.executable).with_name("attest")
_ORIGIN = "bench.example/log"
_PEOPLE = 200_000
_CHANGED = 2_000
_ERASED = 20_000
_SAMPLE = 4_096
_EMAIL = Template("email:{email}")


def run() -> list[dict[str, Any]]:
    """Measure records per second of whole runs, from opening the file to the last published statement."""
    with tempfile.TemporaryDirectory() as name, _company(Path(name)) as company:
        folder = Path(name)
        first, changed, gone = (folder / f"{each}.csv" for each in ("first", "changed", "gone"))
        _write(first, range(_PEOPLE))
        _write(changed, range(_PEOPLE), changed=_CHANGED)
        _write(gone, range(0, _PEOPLE, _PEOPLE // _ERASED))
        with company as holder:
            read = _rate(lambda: sum(1 for _ in locate(CsvFile(first), _EMAIL)), _PEOPLE)
            evaluate = _evaluate(holder)
            fresh = _rate(lambda: holder.hold("crm", CsvFile(first), _EMAIL), _PEOPLE)
            again = _rate(lambda: holder.hold("crm", CsvFile(first), _EMAIL), _PEOPLE)
            with holder.vault.engine.begin() as connection:
                connection.execute(sa.text("DELETE FROM known"))
            untagged = _rate(lambda: holder.hold("crm", CsvFile(first), _EMAIL), _PEOPLE)
            partly = _rate(lambda: holder.hold("crm", CsvFile(changed), _EMAIL), _PEOPLE)
            erased = _rate(lambda: _erase(holder, gone), _ERASED)
        size = sum(path.stat().st_size for path in (folder / "acme").glob("vault*"))
    bare = {"peer": "VRF alone, all cores", "peer_value": evaluate}
    reading = {"peer": "reading the CSV alone", "peer_value": read}
    return [
        _result(
            f"hold, {_PEOPLE:,} new records",
            fresh,
            "half is the VRF; the rest reading, sorting by index, SQLite and publishing",
            **bare,
            ratio=fresh / evaluate,
        ),
        _result("hold again, nothing changed", again, "limited by reading and the vault", **reading),
        _result("hold again, without tags", untagged, "what a run costs without tags of known locators", **bare),
        _result(f"hold again, {_CHANGED:,} changed", partly, "", **reading),
        _result(f"erase, {_ERASED:,} records", erased, "salts overwritten in place", **bare),
        {"name": "vault, for each record", "value": size / _PEOPLE, "unit": "bytes"},
    ]


def _result(name: str, value: float, note: str, **beside: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "records/s", "note": note, **beside}


def _write(path: Path, numbers: range, changed: int = 0) -> None:
    with path.open("w") as file:
        file.write("email,name,city\n")
        for n in numbers:
            file.write(f"person{n}@example.org,Person {n},{'Lyon' if n < changed else 'Paris'}\n")


def _erase(holder: Holder, gone: Path) -> None:
    holder.erase(
        "crm",
        locate(CsvFile(gone), _EMAIL),
        method="row_delete_committed",
        ground="gdpr:17(1)(b)",
        erased_at=int(time.time()) - 1,
    )


def _evaluate(holder: Holder) -> float:
    """Evaluate a sample with all cores, as the SDK does; the pool is warm."""
    with Indexer(holder.home.vrf_secret(None)) as indexer:
        indexer.betas([f"email:warm{n}@example.org" for n in range(2_048)])
        return _rate(lambda: indexer.betas([f"email:sample{n}@example.org" for n in range(_SAMPLE)]), _SAMPLE)


def _rate(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


@contextmanager
def _company(folder: Path) -> Iterator[Holder]:
    """Serve a log in a process of its own, and set up a holder with one system."""
    log = folder / "log"
    _attest("operator", "init", "--dir", str(log), "--origin", _ORIGIN)
    process = subprocess.Popen(
        [_ATTEST, "serve", "--dir", str(log), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("no stdout")
        url = process.stdout.readline().split("\t")[1].strip()
        settings = Settings("acme.example", "Acme", "XX 1", _ORIGIN, url)
        company = Holder.init(folder / "acme", settings, (log / "policy").read_bytes())
        with company as holder:
            (folder / "join.json").write_bytes(holder.join_request().encode())
            _attest("operator", "admit", "--dir", str(log), str(folder / "join.json"))
            while holder.log.holder(holder.id) is None:
                time.sleep(0.1)
            holder.add_systems([Descriptor("crm", "database", (), ("email",), None, None, None, False)])
        yield company
    finally:
        process.terminate()
        process.wait()


def _attest(*arguments: str) -> None:
    subprocess.run([_ATTEST, *arguments], check=True, capture_output=True)
