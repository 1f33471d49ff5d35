"""Nothing but rows and statements leaves the company."""

import base64
from collections.abc import Iterator

from tests.holder.company import Company, people


def spellings(secret: bytes) -> Iterator[bytes]:
    """Spell bytes as they might appear: raw, in hex, in base64 of any alignment, in URLs."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + secret)
        # Without the ends, which depend on the neighbours.
        middle = coded[4 if shift else 0 : len(coded) - 4]
        yield middle
        yield middle.replace(b"+", b"-").replace(b"/", b"_")


def test_no_locator_content_salt_or_key_leaves_the_company(lone_company: Company) -> None:
    """Hold, change, keepsake, look-up, erasure, certificate: no traffic and no storage of the log has any of them."""
    company = lone_company
    company.hold(people(12, note="a-very-private-note"))
    company.hold(people(12, note="a-very-private-note"), "search")
    company.hold(people(12, note="another-private-note"))
    secrets: dict[str, bytes] = {}
    with company.open() as holder:
        for n in range(12):
            subject = holder.subject(f"email:person{n}@example.org")
            secrets[f"locator {n}"] = subject.locator.encode()
            secrets[f"address {n}"] = f"person{n}@example.org".encode()
            secrets[f"name {n}"] = f"Person {n}".encode()
            secrets[f"beta {n}"] = subject.beta
            for system in ("crm", "search"):
                index = subject.index(company.id, system)
                (found,) = holder.vault.live(system, [index])[index]
                secrets[f"salt {n} {system}"] = found.salt
                secrets[f"record {n} {system}"] = found.records
        secrets["note"] = b"a-very-private-note"
        secrets["VRF secret"] = holder.home.vrf_secret(None)
        secrets["PEM"] = b"PRIVATE KEY"
        holder.keepsake("email:person3@example.org")
        holder.lookup(["email:person3@example.org", "email:nobody@example.org"])
    company.erase(["person3@example.org"])
    company.erase(["person3@example.org"], "search")
    with company.open() as holder:
        holder.certificate(["email:person3@example.org"])

    traffic = [
        part
        for request, response in company.wire.exchanges
        for part in (str(request.url).encode(), str(request.headers).encode(), request.content, response.content)
    ]
    keys = company.world.config.path(company.world.config.keys)
    stored = [
        path.read_bytes() for path in company.world.directory.rglob("*") if path.is_file() and keys not in path.parents
    ]
    assert len(traffic) > 100
    assert len(stored) > 20
    everything = b"\n".join([*traffic, *stored])
    for name, secret in secrets.items():
        for spelling in spellings(secret):
            assert spelling not in everything, name
