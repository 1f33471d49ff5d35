"""Signed notes and verifier keys have one spelling, and everything else is refused."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto.keys import SigningKey
from attest.errors import AttestError, Malformed, Refuted
from attest.formats.note import (
    MAX_NOTE,
    SPACE,
    KeyType,
    Note,
    NoteVerifier,
    SignatureLine,
    known_lines,
    parse_signature_lines,
    sign_text,
    verify_text,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "note"
deterministic = settings(derandomize=True, deadline=None, max_examples=200)


def cases(name):
    """Return the cases of one vector file as parameters."""
    return [pytest.param(case, id=case["name"]) for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]]


def wire(case):
    """Return a case's bytes."""
    return base64.b64decode(case["wire_base64"]) if "wire_base64" in case else case["wire"].encode()


@pytest.mark.parametrize("case", cases("vkey"))
def test_a_vkey_parses_to_its_parts_or_is_refused(case):
    """Good vkeys give name, key ID, type and key, and encode back; bad ones give their code."""
    if code := case.get("code"):
        with pytest.raises(Malformed) as refusal:
            NoteVerifier.parse(case["wire"])
        assert refusal.value.code == code
        return

    verifier = NoteVerifier.parse(case["wire"])

    assert verifier.name == case["key_name"]
    assert verifier.key_id.hex() == case["key_id"]
    assert verifier.type == case["type"]
    assert verifier.public.hex() == case["public"]
    assert verifier.encode() == case["wire"]


@pytest.mark.parametrize("case", cases("note"))
def test_a_note_parses_to_its_text_or_is_refused(case):
    """Good notes give text and signatures, and encode back; bad ones give their code."""
    if code := case.get("code"):
        with pytest.raises(Malformed) as refusal:
            Note.parse(wire(case))
        assert refusal.value.code == code
        return

    note = Note.parse(wire(case))

    assert note.text == case["text"]
    assert len(note.signatures) == case["signatures"]
    assert note.encode() == wire(case)
    assert Note.parse(wire(case).decode()) == note


def test_a_note_has_a_size_limit():
    """1 MiB passes; one byte more does not."""
    foot = "\n— a.example AAAAAQI=\n"
    text = "x" * (MAX_NOTE - len(foot.encode()) - 1) + "\n"
    Note.parse(text + foot)

    with pytest.raises(Malformed, match="note/size"):
        Note.parse("x" + text + foot)


def test_text_that_is_no_utf8_is_refused():
    """A lone surrogate, which a str can hold and UTF-8 cannot, is malformed and no crash."""
    for attempt in (
        lambda: Note.parse("\ud800\n\n— a.example AAAAAQI=\n"),
        lambda: SignatureLine.parse("— \ud800 AAAAAQI="),
        lambda: NoteVerifier.parse("\ud800+00000000+AQ=="),
    ):
        with pytest.raises(Malformed):
            attempt()


def test_a_note_without_signatures_cannot_be_written():
    """What would not parse is not encoded."""
    with pytest.raises(ValueError, match="at least one signature"):
        Note("text\n", ()).encode()


def test_the_example_of_the_specification_verifies():
    """C2SP's example key verifies C2SP's example note, and no other text."""
    case = json.loads((VECTORS / "note.json").read_text())["cases"][0]
    verifier = NoteVerifier.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = Note.parse(case["wire"])

    [(known, line)] = known_lines(note, [verifier])
    verify_text(known, note.text, line)
    with pytest.raises(Refuted, match="signature/invalid"):
        verify_text(known, note.text + "\n", line)


def test_a_line_is_known_by_name_and_id_together():
    """A line with only the name, or only the ID, of a known key is somebody else's."""
    key = SigningKey.from_seed(bytes(32))
    verifier = NoteVerifier.of("a.example", KeyType.ED25519, key.public)
    line = sign_text("a.example", key, "text\n")
    name = SignatureLine("a.example", b"\0\0\0\0", line.signature)
    key_id = SignatureLine("b.example", line.key_id, line.signature)

    assert list(known_lines(Note("text\n", (name, key_id, line)), [verifier])) == [(verifier, line)]


def test_a_key_has_an_id_per_type():
    """The same public key under two types is two key IDs."""
    public = SigningKey.from_seed(bytes(32)).public

    assert (
        NoteVerifier.of("a.example", KeyType.ED25519, public).key_id
        != NoteVerifier.of("a.example", KeyType.COSIGNATURE, public).key_id
    )


def test_signature_lines_alone_parse():
    """What a witness answers is signature lines and nothing else."""
    line = "— a.example AAAAAQI=\n"

    assert parse_signature_lines(line * 2) == (SignatureLine("a.example", b"\0\0\0\1", b"\2"),) * 2
    for lines in ("", "\n", line[:-1], line + "\n", "\n" + line):
        with pytest.raises(Malformed):
            parse_signature_lines(lines)


def test_spaces_are_those_of_unicode():
    """The list that is written out has Unicode's White_Space: what Python calls space, but for U+001C to U+001F."""
    characters = [chr(point) for point in range(0x110000)]
    python = {character for character in characters if character.isspace()}

    assert {character for character in characters if SPACE.match(character)} == python - set("\x1c\x1d\x1e\x1f")


LINES = st.sampled_from(["— a.example AAAAAQI=", "— b AAAAAQIDBA==", "text", "", "\u2028", "— ", "—", "x\u0085y", "\r"])


@deterministic
@given(st.lists(LINES | st.text(max_size=8), max_size=8).map("\n".join) | st.text(max_size=40))
def test_a_note_has_one_spelling(text):
    """Whatever parses encodes back to the same bytes; whatever does not is an `AttestError`."""
    try:
        note = Note.parse(text)
    except AttestError:
        return

    assert note.encode().decode() == text
    assert note.text.endswith("\n")


@deterministic
@given(st.binary(max_size=60), st.sampled_from([b"", b"\n\n", "\n\n— a.example AAAAAQI=\n".encode()]))
def test_random_bytes_never_crash_the_parser(junk, foot):
    """Junk is malformed, or a note that encodes back."""
    try:
        note = Note.parse(junk + foot)
    except AttestError:
        return

    assert note.encode() == junk + foot


@deterministic
@given(st.text(max_size=30), st.text(max_size=12), st.text(max_size=60))
def test_a_vkey_has_one_spelling(name, key_id, material):
    """Whatever parses encodes back to the same text; whatever does not is an `AttestError`."""
    vkey = f"{name}+{key_id}+{material}"
    try:
        verifier = NoteVerifier.parse(vkey)
    except AttestError:
        return

    assert verifier.encode() == vkey


@deterministic
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.sampled_from(KeyType))
def test_a_name_that_is_admitted_survives_both_wire_forms(name, kind):
    """A name that a key may have comes back from its vkey and from its signature lines."""
    if kind is KeyType.MLDSA44:
        public = bytes(1312)
    else:
        public = SigningKey.from_seed(bytes(32)).public
    try:
        verifier = NoteVerifier.of(name, kind, public)
    except Malformed:
        return

    line = SignatureLine(name, verifier.key_id, b"signature")
    assert NoteVerifier.parse(verifier.encode()) == verifier
    assert Note.parse(Note("text\n", (line,)).encode()).signatures == (line,)
