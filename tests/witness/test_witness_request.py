"""The body of add-checkpoint has one spelling, and whatever else comes is refused and harms nobody."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attest.encoding import encode_base64
from attest.errors import Malformed
from attest.formats.checkpoint import Checkpoint
from attest.formats.cosignature import verify_cosignature
from attest.formats.note import Note, known_lines, parse_signature_lines
from attest.witness.request import AddCheckpoint, ExtendedCheckpoint, parse_signed
from tests.witness.conftest import ORIGIN, Log, Open, witness_keys

EXAMPLE = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

{} Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
{} opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".replace("{}", "— example.com/behind-the-sofa")
REQUEST = Log().request(3, 7)
DOCUMENTED = {200, 400, 403, 404, 409, 422}


def test_the_example_of_the_specification_is_read():
    """C2SP's own request, and back to the same bytes."""
    sent = AddCheckpoint.parse(EXAMPLE.encode())

    assert sent.old_size == 20852014
    assert len(sent.proof) == 4
    assert sent.signed.checkpoint.size == 20852163
    assert len(sent.signed.note.signatures) == 2
    assert sent.encode() == EXAMPLE.encode()


def test_63_hashes_are_read():
    """As many as a proof can have, and not one more."""
    head, _, tail = EXAMPLE.partition("\n\n")
    old, hash_ = head.split("\n")[:2]

    assert len(AddCheckpoint.parse("\n".join([old, *[hash_] * 63, "", tail]).encode()).proof) == 63
    with pytest.raises(Malformed, match="witness/proof-length"):
        AddCheckpoint.parse("\n".join([old, *[hash_] * 64, "", tail]).encode())


# Whole bodies, and damage that keeps most of the form.
_LINES = st.sampled_from(
    [
        *REQUEST.decode().split("\n"),
        "",
        "old 0",
        "old 00",
        "0",
        "-1",
        "9223372036854775807",
        "9223372036854775808",
        encode_base64(bytes(32)),
        "AAAA",
        "— x AAAAAAA=",
        "extension",
        "\u2028",
        "\x85",
        "\ufeff",
        "\x00",
        "\r",
        " ",
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A request with some bytes changed, removed or put in."""
    body = bytearray(REQUEST)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        match draw(st.sampled_from(["set", "insert", "delete", "cut", "double"])):
            case "set":
                body[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "insert":
                body[at:at] = draw(st.binary(min_size=1, max_size=3))
            case "delete":
                del body[at : at + draw(st.integers(1, 5))]
            case "cut":
                del body[at + 1 :]
            case _:
                body[at:at] = body[at : at + draw(st.integers(1, 50))]
    return bytes(body)


BODIES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(_LINES, max_size=14).map(lambda lines: "\n".join(lines).encode()),
    damaged(),
)


@given(BODIES)
@settings(max_examples=1500, deadline=None)
def test_a_body_has_one_spelling(body: bytes):
    """Whatever parses encodes back to the same bytes; whatever does not is refused with a code."""
    try:
        sent = AddCheckpoint.parse(body)
    except Malformed as error:
        assert re.fullmatch(r"(witness|note|checkpoint|encoding)/[a-z0-9-]+", error.code)
        return

    assert sent.encode() == body


_EXTENSION = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.lists(_EXTENSION, max_size=4))
@settings(deadline=None)
def test_extension_lines_have_one_spelling(extension: list[str]):
    """Any text without control characters, in its order; without any, the checkpoint is an ordinary one."""
    plain = Log().signed(3)
    text = plain.note.text + "".join(f"{line}\n" for line in extension)
    wire = Note(text, plain.note.signatures).encode().decode()
    signed = parse_signed(wire)

    assert signed.encode().decode() == wire
    assert signed.checkpoint.encode() == text
    if extension:
        assert signed.checkpoint == ExtendedCheckpoint(ORIGIN, 3, Log().root(3), tuple(extension))
    else:
        assert signed.checkpoint == Checkpoint(ORIGIN, 3, Log().root(3))


@given(BODIES)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_is_sent_breaks_a_witness(open_site: Open, body: bytes):
    """Only documented statuses, in plain text; what is cosigned is what the log signed, and no other tree."""
    site = _kept(open_site)
    site.ticks.now += 86_400  # nobody asks too often

    answer = site.post(body)

    assert answer.status_code in DOCUMENTED
    assert answer.mimetype in ("text/plain", "text/x.tlog.size")
    if answer.status_code == 200:
        _only_the_truth(answer.text)


def test_no_damage_to_a_request_is_cosigned_as_something_else(open_site: Open):
    """Every byte of a good request in turn, to three other values: refused, or the same tree is cosigned."""
    site = _kept(open_site)
    request, seen = Log().request(3, 7, keys="ed25519"), set()
    for at in range(len(request)):
        for change in (0x01, 0x20, 0x80):
            body = bytearray(request)
            body[at] ^= change
            site.ticks.now += 86_400  # nobody asks too often
            answer = site.post(bytes(body))
            seen.add(answer.status_code)
            assert answer.status_code in DOCUMENTED
            if answer.status_code == 200:
                _only_the_truth(answer.text)

    assert seen >= {400, 403, 404, 409}


_sites: list = []


def _kept(open_site: Open):
    """One witness for all examples of a test, that has cosigned 3 entries."""
    if not _sites or _sites[0] is not open_site:
        site = open_site()
        assert site.post(Log().request(0, 3)).status_code == 200
        _sites[:] = [open_site, site]
    return _sites[1]


def _only_the_truth(text: str) -> None:
    """Our lines verify over the log's own tree of 3 or 7 entries."""
    lines = Note("", parse_signature_lines(text))
    verified = []
    for verifier, line in known_lines(lines, witness_keys().verifiers):
        for size in (3, 7):
            try:
                verify_cosignature(verifier, Log().signed(size).checkpoint, line)
            except Exception:
                continue
            verified.append(line)
    assert verified == list(lines.signatures)
