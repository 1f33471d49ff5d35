"""The test server itself: it starts, keeps databases apart, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy

from tests.postgres import running_postgres, start_postgres, stop_postgres, temporary_database


def _run_directory(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def test_a_server_serves_databases_that_know_nothing_of_each_other(tmp_path: Path) -> None:
    """A table made in one temporary database is absent from another, and both are gone after their blocks."""
    with running_postgres(tmp_path) as url:
        with temporary_database(url) as first, temporary_database(url) as second:
            engines = [sqlalchemy.create_engine(each) for each in (first, second)]
            with engines[0].begin() as connection:
                connection.execute(sqlalchemy.text("CREATE TABLE t (n bytea)"))
            tables = [sqlalchemy.inspect(engine).get_table_names() for engine in engines]
            for engine in engines:
                engine.dispose()

        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            names = connection.execute(sqlalchemy.text("SELECT datname FROM pg_database ORDER BY 1")).scalars().all()
        engine.dispose()

    assert tables == [["t"], []]
    assert names == ["postgres", "template0", "template1"]
    assert not _run_directory(url).exists()


def test_stopping_twice_is_fine(tmp_path: Path) -> None:
    """A fixture may stop a server that the test has stopped."""
    url = start_postgres(tmp_path)
    stop_postgres(url)
    stop_postgres(url)

    assert not _run_directory(url).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
def test_the_server_ends_with_a_process_that_was_killed(tmp_path: Path) -> None:
    """A test process that dies without cleaning up leaves neither server nor files."""
    script = (
        "import os, sys, pathlib, tests.postgres as p\n"
        "print(p.start_postgres(pathlib.Path(sys.argv[1])), flush=True); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    run = _run_directory(ended.stdout.strip())

    deadline = time.monotonic() + 20
    while run.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not run.exists()
