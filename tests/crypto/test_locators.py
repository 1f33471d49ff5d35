import builtins
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto import locators
from attest.crypto.commitment import alpha
from attest.errors import AttestError, Malformed, Unavailable

VECTORS = Path(__file__).parents[1] / "vectors" / "locators"
CANONICAL = json.loads((VECTORS / "canonical.json").read_text())["cases"]
GOOD = [case for case in CANONICAL if "code" not in case]
BAD = [case for case in CANONICAL if "code" in case]
NORMALISED = json.loads((VECTORS / "normalised.json").read_text())["cases"]

fixed = settings(derandomize=True, deadline=None, max_examples=60)
nearly = st.builds(
    "{}:{}".format,
    st.sampled_from(locators.TYPES),
    st.text(st.sampled_from("ab09.@-+:(/ \n\tAZ\u00e4\u3002\uff0b\ud800")) | st.text(),
)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["locator"][:40])
def test_canonical_locators_parse_and_encode_to_themselves(case):
    """Each canonical locator has a type and a value, and is its own spelling."""
    locators.canonical(case["locator"])
    locator = locators.parse(case["locator"])

    assert (locator.type, locator.value) == (case["type"], case["value"])
    assert locator.encode() == case["locator"] == locators.normalise(case["locator"])
    assert alpha(case["locator"]).hex() == case["alpha"]


@pytest.mark.parametrize("case", BAD, ids=lambda case: ascii(case["locator"])[:40])
def test_other_spellings_are_refused_with_their_code(case):
    """A locator that is not canonical is refused, also where it would be hashed."""
    for check in (locators.canonical, locators.parse, alpha):
        with pytest.raises(Malformed) as caught:
            check(case["locator"])

        assert caught.value.code == case["code"]


@pytest.mark.parametrize("case", NORMALISED, ids=lambda case: ascii(case["text"])[:40])
def test_sloppy_text_becomes_the_locator_meant(case):
    """Input help leads to the one canonical spelling, or says which type it could not make."""
    if "needs" in case:
        pytest.importorskip(case["needs"])
    if "code" in case:
        with pytest.raises(Malformed) as caught:
            locators.normalise(case["text"])
        assert caught.value.code == case["code"]
        return

    assert locators.normalise(case["text"], region=case.get("region")) == case["locator"]


@pytest.mark.parametrize(
    "case", [case for case in NORMALISED if "needs" in case], ids=lambda case: ascii(case["text"])[:40]
)
def test_a_missing_package_is_named(case, monkeypatch):
    """Without the optional package the error says which one, and nothing is guessed."""
    monkeypatch.setitem(sys.modules, case["needs"], None)

    with pytest.raises(Unavailable) as caught:
        locators.normalise(case["text"], region=case.get("region"))

    assert caught.value.code == "locator/needs-extra"
    assert case["needs"] in caught.value.message


def test_canonical_ascii_never_needs_a_package(monkeypatch):
    """The base install normalises ASCII e-mail and international phone numbers without importing anything."""
    for package in ("idna", "phonenumbers"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: pytest.fail(f"imported {name}"))

    assert locators.normalise("Email: Ada@Example.ORG") == "email:ada@example.org"
    assert locators.normalise("phone:+44 20 7946 0018", region="GB") == "phone:+442079460018"


@fixed
@given(nearly | st.text())
def test_a_locator_has_one_spelling(text):
    """Whatever parses encodes back to the same text, and is pure ASCII; the rest is malformed."""
    try:
        locator = locators.parse(text)
    except Malformed as error:
        assert error.code.startswith("locator/")
        return

    assert locator.encode() == text
    assert text.isascii()
    assert text.isprintable()
    assert " " not in text


@fixed
@given(nearly | st.text(), st.sampled_from([None, "GB", "XX"]))
def test_normalising_gives_a_canonical_locator_or_an_error_of_ours(text, region):
    """What normalise returns passes the check and is a fixed point."""
    try:
        locator = locators.normalise(text, region=region)
    except AttestError as error:
        assert error.code.startswith("locator/")
        return

    locators.canonical(locator)
    assert locators.normalise(locator, region=region) == locator


def test_messages_do_not_repeat_personal_data():
    """An error about a locator can be logged: it does not contain it."""
    with pytest.raises(Malformed) as caught:
        locators.parse("email:Ada.Lovelace@example.org")

    assert "lovelace" not in str(caught.value).lower()
