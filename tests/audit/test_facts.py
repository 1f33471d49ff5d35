"""Facts: what is kept between two audits is what this version has gathered, or is gathered anew."""

from dataclasses import fields
from typing import Any

import pytest

from attest.audit.facts import Facts, Suspicion, SystemFacts
from attest.errors import Unavailable


def kept() -> dict[str, Any]:
    """Facts with one of everything, as they go into a file."""
    facts = Facts(
        systems={"acme.example db": SystemFacts(curve=[[1, 2, 3, 4]])},
        suspicions=[Suspicion("holder/went-on", "acme.example", "db", 1, 2, bytes(32))],
    )
    return facts.fields()


def test_what_is_kept_comes_back() -> None:
    """All of it."""
    assert Facts.read(kept()).fields() == kept()


@pytest.mark.parametrize("version", [None, 1, 3, "2"])
def test_facts_of_another_version_are_gathered_anew(version: Any) -> None:
    """An older version has not looked for what this one reports; of a newer one nobody knows what its fields mean."""
    with pytest.raises(Unavailable) as refused:
        Facts.read({**kept(), "version": version})
    assert refused.value.code == "audit/state"


@pytest.mark.parametrize("name", [each.name for each in fields(Facts)])
def test_facts_without_a_field_are_gathered_anew(name: str) -> None:
    """A default would say that there were none."""
    found = kept()
    del found[name]
    with pytest.raises((Unavailable, KeyError)):
        Facts.read(found)


@pytest.mark.parametrize("change", [lambda each: each.pop("small"), lambda each: each.update(more=1)])
def test_systems_of_another_shape_are_gathered_anew(change: Any) -> None:
    """One field less, or one more."""
    found = kept()
    change(found["systems"]["acme.example db"])
    with pytest.raises(Unavailable):
        Facts.read(found)
