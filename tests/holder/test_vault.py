"""The vault: what is destroyed is gone from every file, and nobody else can read what is not."""

import itertools
import os
import secrets
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from attest.errors import Unavailable
from attest.formats.statement import Systems
from attest.holder import vault as vault_module
from attest.holder.vault import HEAD, MAX_ROWS, MIGRATIONS, NewCommitment, Vault, sqlite_url
from tests.holder.company import Company, people
from tests.postgres import running_postgres, temporary_database
from tests.world import World, descriptor


def make(path: Path) -> Vault:
    """Open a vault with a registered system."""
    vault = Vault.open(sqlite_url(path))
    number = vault.add_statement("https://acme.example", "systems/1", Systems((descriptor("crm"),)).fields(), 0)
    vault.publish(number, 1)
    return vault


def commitments(count: int, *, records: int = 1) -> list[NewCommitment]:
    """Make rows with random everything."""
    draw = secrets.token_bytes
    return [NewCommitment(draw(32), draw(32), 1, 1, draw(32), draw(32 * records)) for _ in range(count)]


@pytest.mark.parametrize("records", [1, 3, 400], ids=["one", "three", "more than a page"])
def test_destroyed_secrets_are_in_no_file(tmp_path: Path, records: int) -> None:
    """Salts and record digests of erased, replaced and refused commitments leave no byte behind.

    Rows of every fate are mixed, so that neighbours of what is destroyed stay and move as they like.
    """
    vault = make(tmp_path / "vault.sqlite")
    rows = commitments(60 if records > 3 else 900, records=records)
    for start in range(0, len(rows), 500):
        vault.stage_holds("crm", {"cause": "collected"}, 0, rows[start : start + 500], [])
    (hold,) = vault.statements("open")
    vault.publish(hold.id, 2)

    live = vault.live("crm", [row.index for row in rows])
    erased, replaced, kept = (rows[fate::3] for fate in range(3))
    claims = {"erased_at": 1, "method": "overwritten", "level": "none", "ground": "g"}
    vault.stage_tombstones("crm", claims, 0, [live[row.index][0].id for row in erased], [])
    anew = [NewCommitment(row.index, bytes(32), 1, 2, secrets.token_bytes(32), row.records[::-1]) for row in replaced]
    vault.stage_holds("crm", {"cause": "corrected"}, 0, anew[::2], [])
    vault.stage_holds("crm", {"cause": "migrated"}, 0, anew[1::2], [])
    tombstone, correction, refused = vault.statements("open")
    vault.publish(tombstone.id, 3)
    vault.publish(correction.id, 4)
    vault.refuse(refused.id, "rule/seq")

    gone = [*erased, *replaced[::2], *anew[1::2]]
    there = [*kept, *replaced[1::2], *anew[::2]]
    vault.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for row in gone:
        for secret in (row.salt, row.records[:32], row.records[-32:]):
            assert secret[:16] not in content
            assert secret[16:] not in content
    assert all(row.salt in content for row in there)


def test_erasing_through_the_sdk_destroys_salts_and_digests(company: Company) -> None:
    """Once the tombstone is published, no file of the company has what would open the commitment; others stay."""
    company.hold(people(12))
    with company.open() as holder:
        index = {n: holder.subject(f"email:person{n}@example.org").index(company.id, "crm") for n in range(12)}
        before = {n: holder.vault.live("crm", [index[n]])[index[n]][0] for n in range(12)}
    assert any(before[3].salt in content for content in company.files())

    company.erase(["person3@example.org"])

    for content in company.files():
        assert before[3].salt not in content
        assert before[3].records not in content
    assert any(before[4].salt in content for content in company.files())


def test_files_are_for_their_owner(company: Company) -> None:
    """Vault and keys have mode 0600, and the directory of keys 0700, whatever the umask."""
    company.hold(people(3))

    assert (company.path / "vault.sqlite").stat().st_mode & 0o777 == 0o600
    assert (company.path / "keys").stat().st_mode & 0o777 == 0o700
    for path in (company.path / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert not list(company.path.glob("staging*"))


def test_full_statements_take_no_more(tmp_path: Path) -> None:
    """Row 65,537 begins another statement."""
    vault = make(tmp_path / "vault.sqlite")
    statement = vault.stage_holds("crm", {"cause": "collected"}, 0, commitments(2), [])
    with vault.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE statements SET count = {MAX_ROWS - 1} WHERE status = 'open'"))

    vault.stage_holds("crm", {"cause": "collected"}, 0, commitments(3), [])

    assert statement is None
    assert [each.count for each in vault.statements("open")] == [MAX_ROWS, 2]
    vault.close()


def test_rows_of_other_claims_and_windows_are_other_statements(tmp_path: Path) -> None:
    """Only what says the same about the same moment shares a statement."""
    vault = make(tmp_path / "vault.sqlite")
    for cause, release_at in itertools.product(("collected", "backfill"), (0, 100)):
        vault.stage_holds("crm", {"cause": cause}, release_at, commitments(1), [])
        vault.stage_holds("crm", {"cause": cause}, release_at, commitments(1), [])

    assert [each.count for each in vault.statements("open")] == [2, 2, 2, 2]
    vault.close()


def test_the_last_migration_is_the_one_the_code_knows() -> None:
    """Opening skips Alembic when the vault says so; that has to be the newest step."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    """Every column of the code is in the database, and no other."""
    vault = make(tmp_path / "vault.sqlite")
    inspector = sa.inspect(vault.engine)
    for table in vault_module._metadata.sorted_tables:
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(table.columns.keys())
    vault.close()


def test_a_vault_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """An older program does not write into what it does not understand."""
    make(tmp_path / "vault.sqlite").close()
    with sqlite3.connect(tmp_path / "vault.sqlite") as connection:
        connection.execute("UPDATE vault_version SET version_num = '9999'")

    with pytest.raises(Unavailable, match="vault/newer"):
        Vault.open(sqlite_url(tmp_path / "vault.sqlite"))


def test_a_vault_in_postgresql_works_alike(world: World, tmp_path: Path) -> None:
    """Any SQLAlchemy URL: hold, change, erase and back up with PostgreSQL."""
    (tmp_path / "server").mkdir()
    with running_postgres(tmp_path / "server") as server, temporary_database(server) as url:
        company = Company(world, tmp_path / "company", "postgres.example", vault=url)
        company.hold(people(12))
        assert company.hold(people(12)).unchanged == 12
        assert company.hold(people(3, name="New") + people(12)[3:]).changed == 3
        company.erase(["person3@example.org"])
        with company.open() as holder:
            index = holder.subject("email:person3@example.org").index(company.id, "crm")
            assert not holder.vault.live("crm", [index])[index][0].opens
            holder.backup(tmp_path / "backup.sqlite")
            counts = holder.vault.counts("crm")
        copy = Vault.open(sqlite_url(tmp_path / "backup.sqlite"))
        assert copy.counts("crm") == counts
        copy.close()


def test_interrupted_staging_is_removed(company: Company) -> None:
    """What a crash left beside the vault does not stay."""
    left = company.path / "staging.sqlite"
    left.write_bytes(os.urandom(100))

    company.hold(people(2))

    assert not left.exists()
