"""The holder's directory: made once, for its owner, and nothing in it is taken for something else."""

from pathlib import Path
from typing import Any

import pytest

from attest.crypto.keys import SigningKey
from attest.errors import AttestError, Conflict, Malformed, Untrusted
from attest.holder.home import Home, Settings
from tests.world import ORIGIN, World

SETTINGS: dict[str, Any] = {
    "id": "acme.example",
    "name": 'Acme "Ltd" \\ Ünïted',
    "legal_id": "XX 1",
    "origin": ORIGIN,
    "url": "http://log.example",
}


def make(path: Path, world: World, passphrase: bytes | None = None, **changes: Any) -> Home:
    """Make a directory."""
    return Home.create(path, Settings(**{**SETTINGS, **changes}), world.policy.encode(), passphrase)


def test_settings_are_read_back_as_they_were(world: World, tmp_path: Path) -> None:
    """Quotes, backslashes and all."""
    made = make(tmp_path / "acme", world)

    assert Home.load(tmp_path / "acme").settings == made.settings


@pytest.mark.parametrize("passphrase", [None, b"four unrelated words here"], ids=["clear", "encrypted"])
def test_keys_are_read_back(world: World, tmp_path: Path, passphrase: bytes | None) -> None:
    """With the passphrase they were written under, and with no other."""
    home = make(tmp_path / "acme", world, passphrase)

    secret = home.vrf_secret(passphrase)
    (key,) = home.keys("sign", passphrase)

    assert len(secret) == 32
    assert secret not in b"".join(path.read_bytes() for path in (home.path / "keys").iterdir())
    assert key != home.keys("recover", passphrase)[0]
    for wrong in (b"another", None if passphrase else b"x"):
        with pytest.raises(Untrusted, match="key/passphrase"):
            home.vrf_secret(wrong)
        with pytest.raises(Untrusted, match="key/passphrase"):
            home.keys("sign", wrong)


def test_the_vrf_secret_is_no_signing_key(world: World, tmp_path: Path) -> None:
    """No program that reads PKCS#8 signs with it by mistake, and a signing key is no VRF secret."""
    home = make(tmp_path / "acme", world)
    vrf_file = home.path / "keys" / "vrf.pem"

    with pytest.raises(Malformed, match="key/pem"):
        SigningKey.from_pem(vrf_file.read_bytes(), None)
    vrf_file.write_bytes(SigningKey.generate().to_pem(None))
    with pytest.raises(Malformed, match="key/pem"):
        home.vrf_secret(None)


def test_keys_that_others_can_read_are_refused(world: World, tmp_path: Path) -> None:
    """A key with wider permissions is not used."""
    home = make(tmp_path / "acme", world)
    (home.path / "keys" / "vrf.pem").chmod(0o644)

    with pytest.raises(Untrusted, match="key/permissions"):
        home.vrf_secret(None)


def test_nothing_is_set_up_over_something(world: World, tmp_path: Path) -> None:
    """A directory with anything in it is left alone."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "notes.txt").write_text("mine")

    with pytest.raises(Conflict, match="holder/exists"):
        make(tmp_path / "acme", world)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": "acme"}, "holder/id"),
        ({"id": "Acme.example"}, "holder/id"),
        ({"origin": "https://log.example"}, "holder/origin"),
        ({"origin": "other.example"}, "policy/log"),
        ({"name": ""}, "holder/name"),
        ({"legal_id": "a\nb"}, "holder/name"),
        ({"url": "ftp://log.example"}, "holder/url"),
    ],
)
def test_wrong_settings_make_nothing(world: World, tmp_path: Path, changes: dict[str, str], code: str) -> None:
    """They are refused before a key exists."""
    with pytest.raises(AttestError) as caught:
        make(tmp_path / "acme", world, **changes)

    assert caught.value.code == code
    assert not (tmp_path / "acme").exists()


def test_a_damaged_settings_file_is_refused(world: World, tmp_path: Path) -> None:
    """Unknown settings are no typing errors to guess at."""
    home = make(tmp_path / "acme", world)
    for text in ("id = 1", "not toml", (home.path / "holder.toml").read_text() + 'urls = "x"\n'):
        (home.path / "holder.toml").write_text(text)
        with pytest.raises(Malformed, match="holder/settings"):
            Home.load(home.path)
    (home.path / "holder.toml").unlink()
    with pytest.raises(AttestError, match="holder/missing"):
        Home.load(home.path)
