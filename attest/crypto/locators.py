"""Locators: typed identifiers with one canonical spelling, so that one person is one index.

    email:ada@example.org    phone:+442079460018    sha256:<64 lower-case hex>    record:4711

The check is purely syntactic and needs no table, so every language agrees on it for ever. `normalise` turns sloppy
input into the canonical spelling; it is help at the edge, and what it returns passes the same check.

Spec: docs/spec/locators.md.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

from attest.errors import Malformed, Unavailable

TYPES = ("email", "phone", "sha256", "record")

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LAST_LABEL = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"  # begins with a letter: never an IPv4 address
_VALUE = {
    "email": re.compile(r"(?=.{1,254}\Z)[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:" + _LABEL + r"\.)+" + _LAST_LABEL),
    "phone": re.compile(r"\+[1-9][0-9]{6,14}"),
    "sha256": re.compile(r"[0-9a-f]{64}"),
    "record": re.compile(r"[\x21-\x7e]{1,256}"),
}
_WANT = {
    "email": "want local@domain.tld, lower case, without quotes, comments or spaces, the domain in A-labels",
    "phone": "want + and 7 to 15 digits, the first not 0",
    "sha256": "want 64 lower-case hex digits",
    "record": "want 1 to 256 bytes of 21 to 7E",
}

# Python's str.strip, str.lower and \s follow Unicode; these follow ASCII, as JavaScript code would have to.
_SPACE = "\t\n\x0b\x0c\r "
_NO_SPACE = {ord(character): None for character in _SPACE}
_NO_PHONE_MARKS = _NO_SPACE | {ord(character): None for character in "-./()"}
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class Locator:
    """A locator in its canonical spelling, `type:value`."""

    type: str
    value: str

    @classmethod
    def parse(cls, locator: str) -> Self:
        """Read the canonical spelling and no other.

        Raises:
            Malformed: `locator/type` or, by type, `locator/email`, `locator/phone`, `locator/sha256`, `locator/record`.
        """
        kind, colon, value = locator.partition(":")
        if not colon or kind not in _VALUE:
            raise Malformed("locator/type", f"want a locator that begins with one of {', '.join(TYPES)} and a colon")
        if not _VALUE[kind].fullmatch(value):
            raise _bad(kind)
        return cls(kind, value)

    def encode(self) -> str:
        """Write `type:value`."""
        return f"{self.type}:{self.value}"


def parse(locator: str) -> Locator:
    """Read a canonical locator. Raises `Malformed` as `Locator.parse` does."""
    return Locator.parse(locator)


def canonical(locator: str) -> None:
    """Check that `locator` is in its one canonical spelling. Raises `Malformed` as `Locator.parse` does."""
    Locator.parse(locator)


def normalise(text: str, *, region: str | None = None) -> str:
    """Turn what a person typed or a table holds into a canonical locator; a canonical one comes back unchanged.

    Args:
        region: ISO 3166 code of the country whose national phone numbers these are, `GB`.

    Raises:
        Malformed: as `Locator.parse` does, when there is no canonical spelling.
        Unavailable: `locator/needs-extra`, a domain outside ASCII needs the package `idna`, a national phone number
            `phonenumbers`.

    Spec: docs/spec/locators.md#normalising (help, not part of any check).
    """
    kind, colon, value = text.partition(":")
    kind = kind.strip(_SPACE).translate(_LOWER)
    match kind if colon else None:
        case "email":
            value = _normalise_email(value)
        case "phone":
            value = _normalise_phone(value, region)
        case "sha256":
            value = value.strip(_SPACE).translate(_LOWER)
        case "record":
            value = value.strip(_SPACE)
        case _:
            raise Malformed("locator/type", f"want a locator that begins with one of {', '.join(TYPES)} and a colon")
    return Locator.parse(f"{kind}:{value}").encode()


def _normalise_email(value: str) -> str:
    value = value.translate(_NO_SPACE).translate(_LOWER)
    local, at, domain = value.rpartition("@")
    if not at or domain.isascii():
        return value
    idna = _extra("idna", "an e-mail domain outside ASCII")
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except UnicodeError:  # idna.IDNAError is one
        raise _bad("email") from None


def _normalise_phone(value: str, region: str | None) -> str:
    digits = value.translate(_NO_PHONE_MARKS)
    # "+44 (0)20 …": the zero is not dialled from abroad, and only a table knows where it is part of the number.
    if digits.startswith("+") and "(0" not in value.translate(_NO_SPACE):
        return digits
    if region is None and not digits.startswith("+"):
        raise _bad("phone", hint="a national number needs its region, or write it with + and the country code")
    phonenumbers = _extra("phonenumbers", "a national phone number")
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        raise _bad("phone") from None
    # Two people behind one switchboard are not one person: an extension has no place in a locator.
    if number.extension or not phonenumbers.is_possible_number(number):
        raise _bad("phone")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _extra(package: str, purpose: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise Unavailable(
            "locator/needs-extra",
            f"{purpose} needs the package {package}",
            hint="pip install 'attest-deletion[holder]', or write the locator in its canonical spelling",
        ) from None


def _bad(kind: str, hint: str | None = None) -> Malformed:
    # The value is personal data: it is never repeated in a message.
    return Malformed(
        f"locator/{kind}", f"not the canonical spelling of a locator of type {kind}: {_WANT[kind]}", hint=hint
    )
