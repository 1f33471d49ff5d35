"""The command line: what it prints where, how it ends, and what it refuses before it begins."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attest.cli import cli
from attest.errors import AttestError
from tests.holder.company import URL, Company, people
from tests.world import ORIGIN, World


def attest(company: Company, *words: object, env: dict[str, str] | None = None) -> Result:
    """Run a command of the company."""
    arguments = ["holder", *map(str, words), "--dir", str(company.path)]
    return CliRunner().invoke(cli, arguments, obj=company.options, env=env, standalone_mode=False)


def code_of(result: Result) -> str | None:
    """Return the code of the error that ended a command."""
    return result.exception.code if isinstance(result.exception, AttestError) else None


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    """Write rows as CSV."""
    path.write_text("email,name\n" + "".join(f"{row['email']},{row['name']}\n" for row in rows))
    return path


def test_machines_read_stdout_and_people_stderr(company: Company, tmp_path: Path) -> None:
    """Published statements are lines of columns; counts and warnings are sentences."""
    source = write_csv(tmp_path / "people.csv", people(3))

    result = attest(company, "hold", "--system", "crm", "--from", source, "--locator", "email:{email}")

    columns = result.stdout.strip().split("\t")
    assert columns[:4] == ["published", "hold/1", "crm", "3"]
    assert "attest: 3 records: 3 new, 0 changed" in result.stderr
    assert "attest: warning: small-batch" in result.stderr
    assert "@" not in result.stdout + result.stderr


def test_bad_rows_end_the_run_unless_they_are_listed(company: Company, tmp_path: Path) -> None:
    """Without --rejects nothing is signed; with it they are in the file."""
    source = write_csv(tmp_path / "people.csv", [*people(2), {"email": "broken", "name": "B"}])
    words = ["hold", "--system", "crm", "--from", source, "--locator", "email:{email}"]

    refused = attest(company, *words)
    listed = attest(company, *words, "--rejects", tmp_path / "rejects.csv")

    assert code_of(refused) == "source/rejects"
    assert listed.exception is None
    assert (tmp_path / "rejects.csv").read_text().split("\n")[1].startswith("4,locator/email,")


def test_a_list_of_rejects_is_written_over_nothing_else(company: Company, tmp_path: Path) -> None:
    """Over the list of the last run, yes; a source stays as it is."""
    source = write_csv(tmp_path / "people.csv", [*people(2), {"email": "broken", "name": "B"}])
    content = source.read_bytes()
    words = ["hold", "--system", "crm", "--from", source, "--locator", "email:{email}", "--dry-run", "--rejects"]

    assert code_of(attest(company, *words, source)) == "file/exists"
    assert source.read_bytes() == content
    assert attest(company, *words, tmp_path / "rejects.csv").exception is None
    assert attest(company, *words, tmp_path / "rejects.csv").exception is None


def test_a_check_says_how_much_it_read(company: Company, tmp_path: Path) -> None:
    """So that an empty export is noticed; a table without the column is refused."""
    company.hold(people(3))
    now = write_csv(tmp_path / "now.csv", people(2))
    (tmp_path / "gone").write_text("email:person2@example.org\n")
    words = ["erase", "--system", "crm", "--locators", tmp_path / "gone", "--method", "overwritten", "--dry-run"]
    words += ["--ground", "gdpr:17(1)(b)", "--erased-at", "2023-01-01", "--check-locator", "email:{email}", "--check"]

    assert "level logical: 2 records of the system read, none of them theirs" in attest(company, *words, now).stderr
    now.write_text("name;email\nPerson2;person2@example.org\n")
    assert code_of(attest(company, *words, now)) == "csv/column"
    found = attest(company, *words, now, "--check-format", "csv-semicolon")
    assert code_of(found) == "erase/still-present"


def test_status_shows_what_waits_and_withdraw_takes_it_back(company: Company, tmp_path: Path) -> None:
    """By a number that status prints."""
    source = write_csv(tmp_path / "people.csv", people(12))
    words = ["hold", "--system", "crm", "--from", source, "--locator", "email:{email}", "--window", "1d"]
    held = attest(company, *words)

    status = attest(company, "status")

    assert "held back until 20" in held.stderr
    waiting = next(line.split("\t") for line in status.stdout.split("\n") if line.startswith("waiting"))
    assert waiting[2:5] == ["hold/1", "crm", "12"]
    assert "crm: 12 holds and 0 tombstones are not published yet" in status.stderr
    assert attest(company, "withdraw", waiting[1]).exception is None
    assert f"refused\t{waiting[1]}\thold/1\tcrm\t12\twithdrawn" in attest(company, "status", "--offline").stdout


def test_keys_are_listed_added_and_revoked(company: Company) -> None:
    """KIDs come from `keys list`."""
    old = attest(company, "keys", "list").stdout.split("\n")[0].split("\t")
    added = attest(company, "keys", "add")
    revoked = attest(company, "keys", "revoke", old[0])

    assert (old[1], old[2][:12], old[3]) == ("sign", "in use from ", "here")
    assert added.stdout.split("\n")[1].startswith("key\t")
    assert revoked.stdout.startswith("published\tkeys/1\t")
    assert code_of(attest(company, "keys", "revoke", "abc")) == "encoding/hex"


def test_a_stolen_key_is_replaced_with_one_command(company: Company) -> None:
    """By the recovery key; the list then says from where to where it was in force."""
    old = attest(company, "keys", "list", "--offline").stdout.split("\n")[0].split("\t")[0]
    new = attest(company, "keys", "add", "--recovery", "--revoke", old).stdout.split("\n")[1].split("\t")[1]
    listed = [line.split("\t") for line in attest(company, "keys", "list").stdout.split("\n")[:-1]]

    assert {line[0]: line[2].split(" ")[0] for line in listed if line[1] == "sign"} == {old: "revoked,", new: "in"}
    assert attest(company, "keys", "list", "--offline").stdout.count("here") == 3


def test_a_party_ends_only_when_it_says_so(company: Company) -> None:
    """There is no way back."""
    refused = attest(company, "end")
    assert refused.exception is not None and "--yes" in str(refused.exception)
    assert attest(company, "end", "--yes").stdout.startswith("published\tparty-end/1\t")


def test_a_system_is_retired_when_it_is_empty(company: Company) -> None:
    """And listed so afterwards."""
    assert attest(company, "systems", "retire", "search").exception is None
    assert (
        attest(company, "systems", "list").stdout == "crm\tdatabase\temail\tactive\nsearch\tdatabase\temail\tretired\n"
    )


def test_what_never_changes_is_refused_before_it_is_signed(company: Company) -> None:
    """Nothing is left waiting that would stop the next run."""
    refused = attest(company, "systems", "add", "crm", "--kind", "database", "--indexed-by", "phone")

    assert code_of(refused) == "rule/system-fixed"
    assert "waiting" not in attest(company, "status").stdout


def test_a_passphrase_comes_from_a_file_or_the_environment(world: World, tmp_path: Path) -> None:
    """Never from the command line; without it the keys stay closed."""
    (tmp_path / "policy").write_bytes(world.policy.encode())
    (tmp_path / "passphrase").write_text("four unrelated words here\n")
    identity = ["--id", "secret.example", "--name", "S", "--legal-id", "1", "--origin", ORIGIN, "--url", URL]
    common = ["--dir", str(tmp_path / "home")]

    def run(*words: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(cli, ["holder", *words, *common], env=env, obj={"workers": 1}, standalone_mode=False)

    file = ["--passphrase-file", str(tmp_path / "passphrase")]
    made = run("init", *identity, "--policy", str(tmp_path / "policy"), *file)
    assert made.exception is None
    assert code_of(run("join", "-o", str(tmp_path / "join.json"))) == "key/passphrase"
    assert run("join", "-o", str(tmp_path / "join.json"), *file).exception is None
    env = {"ATTEST_PASSPHRASE": "four unrelated words here"}
    assert run("join", "-o", str(tmp_path / "again.json"), env=env).exception is None
    assert code_of(run("join", "-o", str(tmp_path / "again.json"), env=env)) == "file/exists"


@pytest.mark.parametrize(
    "words",
    [
        ["hold", "--system", "crm", "--from", "x.csv"],
        ["erase", "--system", "crm", "--method", "overwritten", "--ground", "g", "--erased-at", "2026-01-01"],
        ["erase", "--system", "crm", "--locators", "x", "--method", "overwritten", "--ground", "g", "--erased-at", "1",
         "--check", "x.csv"],
        ["erase", "--system", "crm", "--locators", "x", "--method", "overwritten", "--ground", "g", "--erased-at", "1",
         "--check-locator", "email:{x}"],
        ["keepsake"],
        ["keepsake", "email:a@b.example"],
        ["keepsake", "--all", "there"],
        ["hold", "--system", "crm", "--from", "x.csv", "--locator", "email:{e}", "--window", "tomorrow"],
    ],
)  # fmt: skip
def test_contradictory_options_are_usage_errors(company: Company, words: list[str]) -> None:
    """They end before anything is read."""
    result = attest(company, *words)

    assert type(result.exception).__name__ in ("UsageError", "BadParameter"), result.exception


def test_keepsakes_for_all_name_who_has_none(company: Company, tmp_path: Path) -> None:
    """One file for each line; a line without a hold is named, and the command says that not all were made."""
    company.hold(people(2))
    source = write_csv(tmp_path / "people.csv", people(3))

    result = attest(company, "keepsake", "--all", tmp_path / "kept", "--from", source, "--locator", "email:{email}")

    assert result.return_value == 1
    assert [line.split("\t")[:2] for line in result.stdout.strip().split("\n")] == [
        ["keepsake", "2"], ["keepsake", "3"], ["rejected", "4"],
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["2.keepsake.json", "3.keepsake.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "kept").iterdir())

    again = attest(company, "keepsake", "--all", tmp_path / "kept", "--from", source, "--locator", "email:{email}")

    assert again.return_value == 1
    assert again.stdout.split("\n")[:2] == ["rejected\t2\tfile/exists", "rejected\t3\tfile/exists"]
