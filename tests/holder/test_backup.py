"""Backups, lost vaults and lost keys: what can be had back, and what cannot."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from attest.encoding import Hash
from attest.errors import AttestError, Conflict, Malformed, Unavailable
from attest.holder.sdk import Holder
from tests.holder.company import Company, people
from tests.world import descriptor


def lose_vault(company: Company) -> None:
    """The disk with the vault dies; settings and keys are kept elsewhere."""
    (company.path / "vault.sqlite").unlink()


def test_a_restored_vault_goes_on_where_it_was(company: Company, tmp_path: Path) -> None:
    """A backup taken after the last statement is the vault: nothing is committed again."""
    company.hold(people(12))
    with company.open() as holder:
        holder.backup(tmp_path / "backup.sqlite")
    lose_vault(company)

    with company.open() as holder:
        holder.restore(tmp_path / "backup.sqlite")

    assert (tmp_path / "backup.sqlite").stat().st_mode & 0o777 == 0o600
    assert company.hold(people(12)).unchanged == 12
    with company.open() as holder:
        assert holder.keepsake("email:person3@example.org").holds


def test_an_older_vault_signs_nothing(company: Company, tmp_path: Path) -> None:
    """A vault that misses statements of ours refuses to hold or erase, and says what to do."""
    company.hold(people(12))
    with company.open() as holder:
        holder.backup(tmp_path / "backup.sqlite")
    company.erase(["person3@example.org"])
    lose_vault(company)
    with company.open() as holder:
        holder.restore(tmp_path / "backup.sqlite")
    size = company.world.node.view.size

    with pytest.raises(Conflict) as caught:
        company.hold(people(13))

    assert caught.value.code == "vault/behind"
    assert "catch-up" in str(caught.value.hint)
    assert company.world.node.view.size == size


def test_catching_up_destroys_what_an_old_backup_brought_back(company: Company, tmp_path: Path) -> None:
    """Salts of people who were erased since the backup are gone again, and what changed since can be committed anew."""
    company.hold(people(12))
    with company.open() as holder:
        index = holder.subject("email:person3@example.org").index(company.id, "crm")
        salt = holder.vault.live("crm", [index])[index][0].salt
        holder.backup(tmp_path / "backup.sqlite")
    company.erase(["person3@example.org"])
    company.hold(people(1, name="New") + people(14)[12:])
    lose_vault(company)
    with company.open() as holder:
        holder.restore(tmp_path / "backup.sqlite")
        assert any(salt in content for content in company.files())

        assert holder.catch_up() == 2

    assert not any(salt in content for content in company.files())
    assert company.hold(people(3)[1:]).unchanged == 2
    # Person 0 was changed after the backup: its salt is lost, so it is committed again.
    assert company.hold(people(1, name="New")).changed == 1
    assert company.erase(["person12@example.org", "person1@example.org"]).erased == 2
    assert company.erase(["person3@example.org"]).already == 1
    company.world.check()


def test_a_lost_vault_is_rebuilt_from_the_log_without_its_salts(company: Company) -> None:
    """With keys alone everything can still be erased or held anew; old commitments can no longer be opened."""
    company.hold(people(12))
    company.erase(["person3@example.org"])
    lose_vault(company)

    with company.open() as holder:
        with pytest.raises(Conflict, match="vault/behind"):
            holder.send()
        assert holder.catch_up() == 3
        with pytest.raises(Unavailable, match="keepsake/nothing-held"):
            holder.keepsake("email:person4@example.org")
        assert holder.certificate(["email:person3@example.org"])[1].claim == "excluded"
        assert holder.catch_up() == 0
    assert company.erase(["person5@example.org"]).erased == 1
    report = company.hold(people(5)[4:])

    assert report.changed == 1
    state = company.state("person4@example.org")
    assert state is not None
    assert (state.generation, state.version) == (1, 2)
    with company.open() as holder:
        assert holder.keepsake("email:person4@example.org").holds


def test_backups_are_restored_into_empty_vaults_of_the_same_holder(company: Company, tmp_path: Path) -> None:
    """A vault is never overwritten, nor a backup, and another VRF key has no use for the vault."""
    company.hold(people(2))
    other = Company(company.world, tmp_path / "other", company.id.replace("acme", "other"), systems=())
    with company.open() as holder:
        holder.backup(tmp_path / "backup.sqlite")
        with pytest.raises(Conflict, match="backup/exists"):
            holder.backup(tmp_path / "backup.sqlite")
        with pytest.raises(Conflict, match="vault/not-empty"):
            holder.restore(tmp_path / "backup.sqlite")
        with pytest.raises(Conflict, match="vault/not-empty"):
            holder.restore(tmp_path / "nothing.sqlite")
    with other.open() as holder, pytest.raises(Conflict, match="vault/other"):
        holder.restore(tmp_path / "backup.sqlite")


def test_what_is_no_backup_is_not_restored(company: Company, tmp_path: Path) -> None:
    """Another file, another database, a damaged copy: each is refused, and a good one is taken afterwards."""
    company.hold(people(200))
    good, path = tmp_path / "good.sqlite", tmp_path / "other"
    with company.open() as holder:
        holder.backup(good)
    (company.path / "vault.sqlite").unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / "foreign.sqlite")) as foreign:
        foreign.execute("CREATE TABLE t (x)")
    whole = good.read_bytes()
    damaged = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2)
    for content in (b"name,email\n", b"", (tmp_path / "foreign.sqlite").read_bytes(), damaged):
        path.write_bytes(content)
        with company.open() as holder, pytest.raises(Malformed, match="backup/format"):
            holder.restore(path)

    with company.open() as holder:
        holder.restore(good)
        assert holder.status().systems["crm"][1].held == 200


def test_another_vrf_key_does_not_open_the_vault(company: Company, tmp_path: Path) -> None:
    """A lost VRF key cannot be replaced: every index would be another."""
    company.hold(people(2))
    other = Company(company.world, tmp_path / "other", company.id.replace("acme", "stray"), systems=())
    shutil.copyfile(other.path / "keys" / "vrf.pem", company.path / "keys" / "vrf.pem")

    with pytest.raises(Conflict, match="vault/other"), company.open():
        pass


def test_a_new_signing_key_takes_over(company: Company) -> None:
    """After `keys add` statements are signed by the new key, and the old one can be revoked."""
    company.hold(people(2))
    with company.open() as holder:
        old = holder.own_keys()
        kid, report = holder.add_key()
        assert [sent.kind for sent in report.sent] == ["keys/1"]
        with pytest.raises(Conflict, match="keys/in-use"):
            holder.revoke_key(kid)
        first = next(each for each, use, _ in old if use == "sign")
        holder.revoke_key(first)
        with pytest.raises(Conflict, match="keys/not-in-force"):
            holder.revoke_key(first)

    assert company.hold(people(4)).new == 2
    company.world.check()


def test_a_recovery_key_revokes_a_stolen_signing_key(company: Company) -> None:
    """The recovery stream is its own: whoever has the signing key cannot get in the way."""
    with company.open() as holder:
        (stolen,) = (kid for kid, use, _ in holder.own_keys() if use == "sign")
        holder.add_key()
        assert holder.revoke_key(stolen, by_recovery=True).sent[0].stream.endswith("#recovery")
        kid, _ = holder.add_key("recover")
        assert (kid, "recover", True) in holder.own_keys()
        holder.add_key("recover")  # signed by the one just added

    company.world.check()


def test_a_lost_vault_finds_the_key_in_force(company: Company) -> None:
    """With several key files and no vault, the log says which is the newest."""
    with company.open() as holder:
        (old,) = (kid for kid, use, _ in holder.own_keys() if use == "sign")
        holder.add_key()
        holder.revoke_key(old)
    lose_vault(company)

    with company.open() as holder:
        holder.catch_up()

    assert company.hold(people(2)).new == 2


def signing_keys(holder: Holder) -> list[Hash]:
    return [kid for kid, use, _ in holder.own_keys() if use == "sign"]


def test_a_thief_of_the_signing_key_cannot_keep_the_owner_out(company: Company) -> None:
    """Not by filling the owner's streams, nor with a key of its own: one statement of the recovery key ends both."""
    company.hold(people(2))
    lost, thief = company.path, company.path.with_name("thief")
    shutil.copytree(lost, thief)
    (thief / "keys" / next(path.name for path in (lost / "keys").glob("recover-*"))).unlink()
    with company.open() as holder:
        (stolen,) = signing_keys(holder)
    with Holder.at(thief, **company.options) as other:
        planted, _ = other.add_key()
        other.add_systems([descriptor("evil")])
    with company.open() as holder:
        with pytest.raises(Conflict, match="vault/behind"):
            holder.add_key()
        kid, report = holder.add_key(revoke=[stolen, planted], by_recovery=True)
        standing = {each.kid: each for each in holder.all_keys() if each.use == "sign"}

    assert [sent.stream for sent in report.sent] == [f"https://{company.id}#recovery"]
    assert standing[kid].in_use and standing[kid].until is None
    assert standing[stolen].until == standing[planted].until == standing[kid].since
    assert (standing[stolen].here, standing[planted].here) == (True, False)
    with Holder.at(thief, **company.options) as other, pytest.raises(AttestError, match=r"vault/behind|rule/key"):
        other.add_systems([descriptor("more")])
    with company.open() as holder:
        assert holder.catch_up() == 2  # what the thief has said is said; the key that signed it was in force
    assert company.hold(people(4)).new == 2
    company.world.check()


def test_a_lost_signing_key_is_replaced_by_the_recovery_key(company: Company) -> None:
    """Its kid is in the log's list; nothing of it has to be here."""
    company.hold(people(2))
    with company.open() as holder:
        (lost,) = signing_keys(holder)
    for path in (company.path / "keys").glob("sign-*"):
        path.unlink()
    with company.open() as holder:
        with pytest.raises(AttestError, match="key/missing"):
            holder.add_key()
        assert [(each.kid, each.here) for each in holder.all_keys() if each.use == "sign"] == [(lost, False)]
        holder.add_key(revoke=[lost], by_recovery=True)

    assert company.hold(people(4)).new == 2
    company.world.check()


def test_the_key_in_use_is_chosen_anew_when_it_is_revoked(company: Company) -> None:
    """By the recovery key, while another signing key of ours is in force."""
    with company.open() as holder:
        (old,) = signing_keys(holder)
        new, _ = holder.add_key()
        holder.revoke_key(new, by_recovery=True)
        assert (old, "sign", True) in holder.own_keys()
        with pytest.raises(Conflict, match="keys/not-in-force"):
            holder.add_key(revoke=[new])

    assert company.hold(people(2)).new == 2


def test_keys_are_rotated_by_one_statement(company: Company) -> None:
    """The old key signs its own end; recovery keys likewise."""
    with company.open() as holder:
        for use in ("sign", "recover", "sign"):
            old = next(kid for kid, of, in_use in holder.own_keys() if of == use and in_use)
            kid, report = holder.add_key(use, revoke=[old])
            assert [sent.kind for sent in report.sent] == ["keys/1"]
            assert [each.kid for each in holder.all_keys() if each.in_use and each.use == use] == [kid]

    assert company.hold(people(2)).new == 2
    company.world.check()


def test_a_party_ends_itself_by_its_recovery_key(company: Company) -> None:
    """Whatever waits; nothing is taken from it afterwards, and what it held stands."""
    company.hold(people(2))
    with company.open() as holder:
        assert [sent.kind for sent in holder.end().sent] == ["party-end/1"]
    with pytest.raises(AttestError, match="rule/party-ended"):
        company.hold(people(4))

    assert company.world.node.browse.holder(company.id)["status"] == "ended"  # type: ignore[index]
    assert company.state("person0@example.org").status == 1  # type: ignore[union-attr]
    company.world.check()
