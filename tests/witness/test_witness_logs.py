"""The list of logs is read as the witness network writes it, again when it changes, and only whole."""

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from attest.errors import AttestError, Conflict, Malformed
from attest.formats.note import KeyType, NoteVerifier
from attest.witness.loglist import EMPTY, LogList, encode_log, follow, parse_logs, parse_urls
from tests.witness.conftest import ORIGIN, Clock, Log, witness_keys, write_list

# The beginning of a list as published, with its comments.
PUBLISHED = """\
#
# This is an experimental list where witnesses can discover logs.
#
logs/v0

vkey arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f
qpd 86400
contact google-ct-logs@googlegroups.com

vkey vindex.gopherwatch.org+af4f4f3a+AYlEp21ErzmKZa+aqhjC8BQteyEtsVwmLzblkzHxn8et
origin something-not-equal-to-vkey-keyname
qpd 8640
contact logs (at) example.org | https://log.example/instances/barreleye.md
"""
LOG = Log()
ENTRY = encode_log(LOG.verifiers[0], 24, "ops")


def test_a_published_list_is_read():
    """Keys, origins where they differ, rates and contacts."""
    logs = parse_logs(PUBLISHED)

    assert list(logs) == ["arche2025h1.staging.ct.transparency.dev", "something-not-equal-to-vkey-keyname"]
    first, second = logs.values()
    assert (first.qpd, first.contact, first.url) == (86_400, "google-ct-logs@googlegroups.com", None)
    assert first.verifiers[0].name == first.origin
    assert second.verifiers[0].name == "vindex.gopherwatch.org"
    assert second.contact.startswith("logs (at) example.org | https://")


def test_a_list_without_logs_is_read():
    """As `attest witness init` writes it."""
    assert parse_logs(EMPTY) == {}


def test_white_space_and_comments_do_not_matter():
    """The format removes leading and trailing white space, and lines that are empty or begin with a hash."""
    spaced = "\n# x\n" + "\n \t\n  # y\n".join(f"\t {line}  \r" for line in f"logs/v0\n{ENTRY}".split("\n") if line)

    assert parse_logs(spaced) == parse_logs(f"logs/v0\n{ENTRY}")


def test_two_keys_of_one_origin_are_one_log():
    """An Ed25519 and an ML-DSA-44 key, the larger rate, the first contact."""
    text = f"logs/v0\n{ENTRY}{encode_log(LOG.verifiers[1], 48, 'others')}"

    log = parse_logs(text)[ORIGIN]

    assert (log.verifiers, log.qpd, log.contact) == (LOG.verifiers, 48, "ops")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "logs/v1\n",
        "logs/v0 \nlogs/v0",
        ENTRY,
        f"logs/v0\n{ENTRY}{ENTRY}",
        f"logs/v0\n{ENTRY}".replace("qpd 24\n", ""),
        f"logs/v0\n{ENTRY}".replace("contact ops\n", ""),
        f"logs/v0\n{ENTRY}".replace("contact ops", "contact"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd 0"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd 024"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd +24"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd ٣"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd 2147483648"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd 24 25"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "QPD 24"),
        f"logs/v0\n{ENTRY}".replace("qpd 24\ncontact ops", "contact ops\nqpd 24"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "qpd 24\norigin x"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "origin x\norigin y\nqpd 24"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", f"origin {'x' * 256}\nqpd 24"),
        f"logs/v0\n{ENTRY}".replace("qpd 24", "url https://x\nqpd 24"),
        f"logs/v0\n{ENTRY}".replace("vkey ", "vkey  "),
        f"logs/v0\n{ENTRY}".replace("+5a42c0bc+", "+5a42c0bd+"),
        f"logs/v0\n{encode_log(witness_keys().verifiers[0], 24, 'ops')}",
    ],
)
def test_a_list_with_a_fault_is_no_list(text: str):
    """Refused as a whole, with the line: half a list would drop logs in silence."""
    with pytest.raises(Malformed) as caught:
        parse_logs(text)

    assert caught.value.code == "witness/logs"
    assert "line " in caught.value.message


@given(st.text(st.sampled_from("lv0ogs/ kyqpdcnta+#\n\t1é") | st.characters(), max_size=80))
def test_no_text_breaks_the_reader(text: str):
    """It reads or refuses."""
    for document in (text, f"logs/v0\n{text}", f"logs/v0\n{ENTRY}{text}"):
        try:
            parse_logs(document)
        except Malformed as error:
            assert error.code == "witness/logs"


def test_places_are_read():
    """An URL, a space, and the origin as it is."""
    assert parse_urls("# x\nhttps://a.example/ go.sum database tree\n") == {"go.sum database tree": "https://a.example"}
    for bad in ("https://a.example", "ftp://a.example x", "x https://a.example", "https://a x\nhttps://b x"):
        with pytest.raises(Malformed, match="witness/urls"):
            parse_urls(bad)


def test_a_list_that_changes_is_read_again(tmp_path):
    """Within a second or so, without a restart."""
    other, clock = Log("other.example/log", seed=bytes(32)), Clock()
    write_list(tmp_path, LOG.verifiers[0])
    logs = LogList(tmp_path, clock)
    write_list(tmp_path, LOG.verifiers[0], *other.verifiers)
    assert set(logs.all()) == {ORIGIN}

    clock.now += 2

    assert set(logs.all()) == {ORIGIN, other.origin}
    (tmp_path / "urls").write_text(f"https://other.example {other.origin}\n")
    clock.now += 2
    found = logs.find(other.origin)
    assert found is not None
    assert found.url == "https://other.example"


@pytest.mark.parametrize("fault", ["broken", "gone", "urls"])
def test_a_faulty_list_changes_nothing_and_is_reported(tmp_path, fault: str):
    """The old list stays in force until the new one is good."""
    clock = Clock()
    write_list(tmp_path, *LOG.verifiers)
    logs = LogList(tmp_path, clock)
    match fault:
        case "broken":
            (tmp_path / "logs").write_text("logs/v0\nvkey x\n")
        case "gone":
            (tmp_path / "logs").unlink()
        case _:
            (tmp_path / "urls").write_text("x\n")
    clock.now += 2

    with structlog.testing.capture_logs() as said:
        assert set(logs.all()) == {ORIGIN}

    assert isinstance(logs.problem, AttestError)
    assert [line["event"] for line in said] == ["log list not used"]
    with structlog.testing.capture_logs() as said:
        clock.now += 2
        logs.all()
    assert said == []
    write_list(tmp_path, LOG.verifiers[0])
    (tmp_path / "urls").unlink(missing_ok=True)
    clock.now += 2
    assert logs.all()[ORIGIN].verifiers == LOG.verifiers[:1]
    assert logs.problem is None


def test_a_log_keeps_its_keys_while_the_witness_runs(tmp_path):
    """A key that comes or goes is reported; a list in which none is left is faulty, until somebody starts anew."""
    clock = Clock()
    write_list(tmp_path, LOG.verifiers[0])
    logs = LogList(tmp_path, clock)
    write_list(tmp_path, *LOG.verifiers)
    clock.now += 2
    with structlog.testing.capture_logs() as said:
        assert logs.all()[ORIGIN].verifiers == LOG.verifiers
    assert {"event": "keys of a log changed", "origin": ORIGIN, "log_level": "warning"} in said

    write_list(tmp_path, Log(seed=bytes(32)).verifiers[0])
    clock.now += 2
    assert logs.all()[ORIGIN].verifiers == LOG.verifiers
    assert logs.problem is not None
    assert logs.problem.code == "witness/keys"
    assert LogList(tmp_path, clock).all()[ORIGIN].verifiers == Log(seed=bytes(32)).verifiers[:1]


def test_following_appends_once(tmp_path):
    """Comments and order of the file stay; doing it twice is doing it once."""
    (tmp_path / "logs").write_text(f"# mine\n{PUBLISHED}")
    vkeys = [verifier.encode() for verifier in LOG.verifiers]
    for _ in range(2):
        log = follow(tmp_path, vkeys, url="https://log.example/", qpd=24, contact="ops")
        assert (log.origin, log.verifiers, log.qpd) == (ORIGIN, LOG.verifiers, 24)

    text = (tmp_path / "logs").read_text()
    assert text.startswith(f"# mine\n{PUBLISHED}")
    assert len(parse_logs(text)) == 3
    assert (tmp_path / "urls").read_text() == f"https://log.example/ {ORIGIN}\n"


def test_a_moved_log_keeps_its_entry(tmp_path):
    """Another URL replaces the one there is, and no other."""
    (tmp_path / "logs").write_text(EMPTY)
    (tmp_path / "urls").write_text("# mine\nhttps://x.example other\n")
    vkey = LOG.verifiers[0].encode()
    follow(tmp_path, [vkey], url="https://a.example", qpd=24, contact="ops")
    follow(tmp_path, [vkey], url="https://b.example", qpd=24, contact="ops")

    assert (tmp_path / "urls").read_text() == f"# mine\nhttps://x.example other\nhttps://b.example {ORIGIN}\n"


@pytest.mark.parametrize("others", [(1,), (0, 1)])
def test_a_log_is_not_followed_under_other_keys(tmp_path, others: tuple[int, ...]):
    """Neither exchanged nor added: whoever gets a name would carry on another's history."""
    write_list(tmp_path, LOG.verifiers[0])
    before = (tmp_path / "logs").read_text()

    for keys in ([LOG.verifiers[n] for n in others], [Log(seed=bytes(32)).verifiers[0]]):
        with pytest.raises(Conflict, match="witness/keys"):
            follow(tmp_path, [key.encode() for key in keys], url=None, qpd=24, contact="ops")
    assert (tmp_path / "logs").read_text() == before


@pytest.mark.parametrize(
    ("vkeys", "more"),
    [
        ([], {}),
        ([LOG.verifiers[0], Log("other.example", seed=bytes(32)).verifiers[0]], {}),
        ([LOG.verifiers[0], LOG.verifiers[0]], {}),
        ([witness_keys().verifiers[0]], {}),
        ([LOG.verifiers[0]], {"contact": "a\nvkey b"}),
        ([LOG.verifiers[0]], {"contact": ""}),
        ([LOG.verifiers[0]], {"contact": " a"}),
        ([LOG.verifiers[0]], {"qpd": 0}),
        ([LOG.verifiers[0]], {"qpd": 2**31}),
        ([LOG.verifiers[0]], {"url": "log.example"}),
        ([LOG.verifiers[0]], {"url": "https://log.example x"}),
    ],
)
def test_nonsense_is_not_followed(tmp_path, vkeys: list[NoteVerifier], more: dict):
    """Nothing is written."""
    (tmp_path / "logs").write_text(EMPTY)
    with pytest.raises(Malformed):
        follow(tmp_path, [key.encode() for key in vkeys], **{"url": None, "qpd": 24, "contact": "ops", **more})

    assert (tmp_path / "logs").read_text() == EMPTY
    assert not (tmp_path / "urls").exists()


def test_the_types_of_log_keys_are_these():
    """A type that a log key cannot have is refused when it is listed, not when it signs."""
    assert [verifier.type for verifier in LOG.verifiers] == [KeyType.ED25519, KeyType.MLDSA44]
