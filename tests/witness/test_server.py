"""The witness protocol, status by status, as C2SP tlog-witness has it."""

import itertools

import pytest

from attest.crypto.keys import SigningKey
from attest.encoding import encode_base64, parse_base64, sha256
from attest.errors import Malformed, Refuted, Unavailable
from attest.formats.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from attest.formats.cosignature import verify_cosignature
from attest.formats.note import (
    KeyType,
    Note,
    NoteVerifier,
    SignatureLine,
    known_lines,
    parse_signature_lines,
    sign_text,
)
from attest.witness.loglist import encode_log
from attest.witness.request import AddCheckpoint
from tests.witness.conftest import NAME, ORIGIN, TIME, Log, Open, Site, witness_keys, write_list

KEYS = witness_keys()


def sizes(answer) -> tuple[int, str, str]:
    return answer.status_code, answer.mimetype, answer.text


def code(answer) -> str:
    """The first line of what a person reads."""
    assert answer.content_type == "text/plain; charset=utf-8"
    return answer.text.split("\n")[0]


# --- 200 ---


def test_the_first_checkpoint_is_cosigned_byte_by_byte(site: Site):
    """The vector of docs/spec/checkpoint.md, over HTTP: seed 20…3f, this time, this checkpoint."""
    body = (
        "old 0\n"
        "\n"
        "log.example/deletions\n"
        "5\n"
        "GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
        "\n"
        "— log.example/deletions "
        "WkLAvMTEZDmLGd6RsBCf5Uog0WL1rJ7ywqbTga2OvUQf0zONlp/uyyPNB8qxUmc6RKZIxl32fxDE6lhyASxM9eAXAQ8=\n"
    )

    answer = site.post(body.encode())

    assert answer.status_code == 200
    first, second, rest = answer.text.split("\n")
    assert first == (
        "— wit.example/w1 "
        "ktTxyAAAAABqsTuAEOZwQIbiuuRfMMk54RSHQJWw9/8q63aTtjVwKD3d9/P7FtHj5HmvfP3s+PM8ENiYEcueQBW+EhYZXN8jFClhCQ=="
    )
    checkpoint = Checkpoint(ORIGIN, 5, parse_base64("GqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw="))
    assert verify_cosignature(KEYS.verifiers[1], checkpoint, SignatureLine.parse(second)).time == TIME
    assert rest == ""


@pytest.mark.parametrize("keys", ["both", "ed25519", "mldsa44"])
def test_one_listed_key_is_enough(site: Site, log: Log, keys: str):
    """A log has an Ed25519 and an ML-DSA-44 key; a line of either speaks for it."""
    assert site.post(log.request(0, 3, keys=keys)).status_code == 200
    assert site.post(log.request(3, 7, keys=keys)).status_code == 200


@pytest.mark.parametrize("steps", [(0, 1, 2, 3, 4, 5, 6, 7, 8), (0, 3, 5, 8), (0, 64, 100)])
def test_a_log_that_grows_is_cosigned_at_every_step(site: Site, log: Log, steps: tuple[int, ...]):
    """From each size to the next, by consistency proof, and never without one."""
    for old, new in itertools.pairwise(steps):
        site.clock.now += 1
        answer = site.post(log.request(old, new))
        assert answer.status_code == 200
        for verifier, line in known_lines(Note("", parse_signature_lines(answer.text)), KEYS.verifiers):
            assert verify_cosignature(verifier, log.signed(new).checkpoint, line).time == site.clock.now


def test_the_answer_is_our_lines_and_nothing_else(site: Site, log: Log):
    """Ed25519 first, for every reader there is, then ML-DSA-44; the log's own lines stay out."""
    lines = parse_signature_lines(site.post(log.request(0, 3)).text)

    assert [(line.name, line.key_id) for line in lines] == [(NAME, verifier.key_id) for verifier in KEYS.verifiers]
    assert [verifier.type for verifier in KEYS.verifiers] == [KeyType.COSIGNATURE, KeyType.MLDSA44]


def test_ml_dsa_can_be_turned_off(open_site: Open, log: Log):
    """Then one line comes back."""
    site = open_site(keys=witness_keys(mldsa=False))

    assert len(parse_signature_lines(site.post(log.request(0, 3)).text)) == 1
    assert site.client.get("/").text.count(f"{NAME}+") == 1


def test_the_same_size_again_refreshes_the_time(site: Site, log: Log):
    """A cosignature is a word about a second; asking again gives a newer one."""
    site.post(log.request(0, 3))
    site.clock.now += 100

    answer = site.post(log.request(3, 3))

    line = parse_signature_lines(answer.text)[0]
    assert verify_cosignature(KEYS.verifiers[0], log.signed(3).checkpoint, line).time == TIME + 100


def test_an_empty_log_is_cosigned_and_grows(site: Site, log: Log):
    """Size 0 is a size like others, with the hash of the empty string as its root."""
    assert site.post(log.request(0, 0)).status_code == 200
    assert site.newest().text.split("\n")[1] == "0"
    assert site.post(log.request(0, 0)).status_code == 200
    assert site.post(log.request(0, 5)).status_code == 200


def test_lines_of_strangers_are_ignored(site: Site, log: Log):
    """Whatever they say: other names, our key's ID under another name, our name under another ID."""
    signed = log.signed(3, keys="ed25519")
    verifier = log.verifiers[0]
    strangers = (
        SignatureLine("stranger.example", b"1234", b"x"),
        SignatureLine("stranger.example", verifier.key_id, bytes(64)),
        SignatureLine(verifier.name, b"1234", bytes(64)),
        sign_text("stranger.example", SigningKey.from_seed(bytes(32)), signed.note.text),
    )

    assert site.post(AddCheckpoint(0, (), signed.with_lines(strangers)).encode()).status_code == 200
    assert "stranger" not in site.newest().text


# --- 400 ---

GOOD = Log().request(3, 7, keys="ed25519").decode()


@pytest.mark.parametrize(
    ("bad", "want"),
    [
        (GOOD.replace("old 3", "old 03"), "encoding/decimal"),
        (GOOD.replace("old 3", "old  3"), "encoding/decimal"),
        (GOOD.replace("old 3", "old +3"), "encoding/decimal"),
        (GOOD.replace("old 3", "old -3"), "encoding/decimal"),
        (GOOD.replace("old 3", "old ٣"), "encoding/decimal"),
        (GOOD.replace("old 3", "old 3 "), "encoding/decimal"),
        (GOOD.replace("old 3", "old "), "encoding/decimal"),
        (GOOD.replace("old 3", "old 9223372036854775808"), "encoding/decimal"),
        (GOOD.replace("old 3", "old"), "witness/old"),
        (GOOD.replace("old 3", "OLD 3"), "witness/old"),
        (GOOD.replace("old 3", " old 3"), "witness/old"),
        (GOOD.replace("old 3\n", ""), "witness/old"),
        (GOOD.replace("old 3", "\ufeffold 3"), "witness/old"),
        ("\n" + GOOD, "witness/old"),
        (GOOD.replace("\n", "\r\n"), "witness/control-character"),
        (GOOD.replace("old 3", "old 3\r"), "witness/control-character"),
        (GOOD.replace("\n7\n", "\n07\n"), "encoding/decimal"),
        (GOOD.replace("=\n", "\n", 1), "encoding/base64"),
        (GOOD.replace("=\n", "==\n", 1), "encoding/base64"),
        (GOOD.replace("old 3\n", "old 3\nAAAA\n"), "encoding/base64"),
        (GOOD.replace("old 3\n", f"old 3\n{encode_base64(bytes(32))} \n"), "encoding/base64"),
        (GOOD.replace("old 3\n", "old 3\n" + f"{encode_base64(bytes(32))}\n" * 61), "witness/proof-length"),
        (GOOD.replace("\n\nlog", "\nlog"), "encoding/base64"),
        (GOOD.replace("\n\nlog", "\n\n\nlog"), "checkpoint/origin"),
        (GOOD + "\n", "note/signatures"),
        (GOOD + "x", "note/final-newline"),
        (GOOD + GOOD, "checkpoint/lines"),
        (GOOD[:-1], "note/final-newline"),
        (GOOD.partition("\n\n—")[0], "note/blank-line"),
        (GOOD.partition("—")[0], "note/signatures"),
        (GOOD.partition("\n\n")[0], "witness/blank-line"),
        (GOOD.replace("—", "-"), "note/signature-line"),
        ("", "witness/blank-line"),
        ("\n\n", "witness/old"),
        ("old 0\n\n\n\n", "note/signatures"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(site: Site, bad: str, want: str):
    """400, with the code on the first line; nothing is cosigned."""
    answer = site.post(bad.encode())

    assert (answer.status_code, code(answer)) == (400, want)
    assert site.newest().status_code == 404


def test_a_body_that_is_no_text_is_refused(site: Site):
    """400 for what is not UTF-8."""
    answer = site.post(GOOD.encode().replace(b"\xe2", b"\xff"))

    assert (answer.status_code, code(answer)) == (400, "encoding/utf8")


def test_an_old_size_above_the_new_one_is_refused(site: Site, log: Log):
    """400, before anybody asks where we are."""
    answer = site.post(log.request(7, 3))

    assert (answer.status_code, code(answer)) == (400, "witness/old")


# --- 403 ---


def test_a_checkpoint_that_the_log_did_not_sign_is_refused(site: Site, log: Log):
    """403: lines of strangers do not help."""
    stranger = Log("stranger.example", seed=bytes(32))
    lines = stranger.signed(3).note.signatures
    body = AddCheckpoint(0, (), SignedCheckpoint(log.signed(3).checkpoint, Note(log.signed(3).note.text, lines)))

    answer = site.post(body.encode())

    assert (answer.status_code, code(answer)) == (403, "checkpoint/unsigned")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["flipped", "short", "long", "of another"])
def test_one_bad_line_of_a_listed_key_spoils_the_rest(site: Site, log: Log, which: int, damage: str):
    """403, though the log's other line is good: the note is malformed."""
    lines = list(log.signed(3).note.signatures)
    line, other = lines[which], log.signed(4).note.signatures[which]
    bad = {
        "flipped": line.signature[:-1] + bytes([line.signature[-1] ^ 1]),
        "short": line.signature[:1],
        "long": line.signature + b"x",
        "of another": other.signature,
    }[damage]
    lines[which] = SignatureLine(line.name, line.key_id, bad)
    for bodies in (lines, lines[::-1], [*log.signed(3).note.signatures, lines[which]]):
        signed = SignedCheckpoint(log.signed(3).checkpoint, Note(log.signed(3).note.text, tuple(bodies)))
        answer = site.post(AddCheckpoint(0, (), signed).encode())

        assert (answer.status_code, code(answer)) == (403, "witness/signature")
    assert site.newest().status_code == 404


def test_who_signs_is_asked_before_anything_is_told(site: Site, log: Log):
    """An unsigned request learns no size and no verdict on its proof."""
    site.post(log.request(0, 3))
    lines = (SignatureLine("stranger.example", b"1234", b"x"),)
    unsigned = SignedCheckpoint(log.signed(7).checkpoint, Note(log.signed(7).note.text, lines))

    for old in (0, 3, 7, 8):
        assert site.post(AddCheckpoint(old, (), unsigned).encode()).status_code == 403


# --- 404 ---


def test_a_log_that_is_not_listed_is_unknown(site: Site):
    """404, whoever signs."""
    answer = site.post(Log("other.example/log").request(0, 3))

    assert (answer.status_code, code(answer)) == (404, "witness/unknown")


def test_a_log_whose_key_another_origin_has_is_unknown(site: Site):
    """The key of one log says nothing for another origin."""
    signed = Log().signed(3).note
    text = signed.text.replace(ORIGIN, "other.example/log")
    body = f"old 0\n\n{text}\n".encode() + signed.encode().partition(b"\n\n")[2]

    assert site.post(body).status_code == 404


# --- 409 ---


def test_another_old_size_is_told_ours(site: Site, log: Log):
    """409 with the size and a line feed, in its own content type."""
    assert sizes(site.post(log.request(3, 7))) == (409, "text/x.tlog.size", "0\n")
    site.post(log.request(0, 5))

    for old, new in ((0, 5), (0, 7), (3, 7), (6, 7), (0, 3), (3, 3), (7, 7)):
        answer = site.post(log.request(old, new))
        assert sizes(answer) == (409, "text/x.tlog.size", "5\n")
        assert answer.headers["Content-Type"] == "text/x.tlog.size"


def test_the_size_is_asked_before_proof_and_root(site: Site, log: Log):
    """A client that does not know where we are asks with old 0 and gets an answer, even from a fork."""
    site.post(log.request(0, 5))
    forked = Log(fork="!")

    assert site.post(forked.request(0, 5)).status_code == 409
    assert site.post(AddCheckpoint(0, (bytes(32),), log.signed(7)).encode()).status_code == 409


# --- 422 ---


def test_two_roots_of_one_size_are_refused(site: Site, log: Log):
    """422, and the register stays where it is."""
    site.post(log.request(0, 5))
    before = site.newest().text

    answer = site.post(Log(fork="!").request(5, 5))

    assert (answer.status_code, code(answer)) == (422, "consistency/fork")
    assert site.newest().text == before


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_fork_below_our_size_is_refused(site: Site, log: Log, at: int):
    """422 for every history that leaves ours before the size we cosigned."""
    site.post(log.request(0, 5))

    answer = site.post(Log(fork="!", at=at).request(5, 8))

    assert answer.status_code == 422
    assert code(answer).startswith("consistency/")
    assert site.post(Log(fork="!", at=5).request(5, 8)).status_code == 200


@pytest.mark.parametrize("change", ["none", "more", "less", "other", "swapped"])
def test_a_proof_that_does_not_verify_is_refused(site: Site, log: Log, change: str):
    """422, not 400: its lines are well formed."""
    site.post(log.request(0, 5))
    proof = log.proof(5, 8)
    bad = {
        "none": (),
        "more": (*proof, bytes(32)),
        "less": proof[:-1],
        "other": (bytes(32), *proof[1:]),
        "swapped": proof[::-1],
    }[change]

    assert site.post(AddCheckpoint(5, bad, log.signed(8)).encode()).status_code == 422


def test_a_proof_where_none_belongs_is_refused(site: Site, log: Log):
    """422: from size 0 and from a size to itself it is empty."""
    assert site.post(AddCheckpoint(0, (bytes(32),), log.signed(5)).encode()).status_code == 422
    assert site.post(AddCheckpoint(0, (bytes(32),), log.signed(0)).encode()).status_code == 422
    site.post(log.request(0, 5))
    assert site.post(AddCheckpoint(5, (bytes(32),), log.signed(5)).encode()).status_code == 422


def test_an_empty_log_with_another_root_is_refused(site: Site, log: Log):
    """422: the root of no entries is the hash of the empty string."""
    for _ in range(2):
        assert site.post(AddCheckpoint(0, (), log.signed(0, head=bytes(32))).encode()).status_code == 422
        assert site.post(log.request(0, 0)).status_code == 200


# --- extension lines and strange origins ---


def _extended(log: Log, *extension: str, keys: str = "both") -> bytes:
    signed = log.signed(3)
    text = signed.note.text + "".join(f"{line}\n" for line in extension)
    lines = {"ed25519": sign_text(log.origin, log.ed25519, text), "mldsa44": signed.note.signatures[1]}
    chosen = lines.values() if keys == "both" else (lines[keys],)
    return f"old 0\n\n{Note(text, tuple(chosen)).encode().decode()}".encode()


def test_extension_lines_are_cosigned_as_they_are(site: Site, log: Log):
    """C2SP lets a log write them; type 04 signs them, type 06 and the tree do not."""
    answer = site.post(_extended(log, "note to everybody", "— and more"))

    assert answer.status_code == 200
    first, second = parse_signature_lines(answer.text)
    message = f"cosignature/v1\ntime {TIME}\n{log.signed(3).note.text}note to everybody\n— and more\n".encode()
    assert first.signature[8:] == KEYS.ed25519.sign(message)
    verify_cosignature(KEYS.verifiers[1], log.signed(3).checkpoint, second)
    assert site.newest().text.startswith(f"{log.signed(3).note.text}note to everybody\n— and more\n\n")
    assert site.post(log.request(3, 7)).status_code == 200


def test_extension_lines_that_nobody_signed_are_refused(site: Site, log: Log):
    """403 where only an ML-DSA-44 line speaks for the log: it does not cover them, so anybody could add some."""
    answer = site.post(_extended(log, "put in by a stranger", keys="mldsa44"))

    assert (answer.status_code, code(answer)) == (403, "witness/extension")


def test_empty_extension_lines_are_refused(site: Site, log: Log):
    """400: C2SP has none."""
    text = log.signed(3).note.text + "\nmore\n"
    body = f"old 0\n\n{Note(text, (sign_text(log.origin, log.ed25519, text),)).encode().decode()}"

    assert site.post(body.encode()).status_code == 400


@pytest.mark.parametrize("origin", ["go.sum database tree", "a+b", "rekor.example - 2605736670972794746"])
def test_any_origin_is_cosigned(open_site: Open, origin: str):
    """Logs older than the specification have spaces in their origins and other names on their keys."""
    site = open_site()
    log = Log()
    verifier = NoteVerifier.of("log.example/key", KeyType.ED25519, log.ed25519.public)
    entry = encode_log(verifier, 24, "-").replace("qpd", f"origin {origin}\nqpd")
    (site.directory / "logs").write_text(f"logs/v0\n{entry}")
    site.ticks.now += 2
    text = Checkpoint(origin, 3, log.root(3)).encode()
    line = sign_text("log.example/key", log.ed25519, text)

    answer = site.post(f"old 0\n\n{Note(text, (line,)).encode().decode()}".encode())

    assert answer.status_code == 200
    for verifier, ours in known_lines(Note("", parse_signature_lines(answer.text)), KEYS.verifiers):
        verify_cosignature(verifier, Checkpoint(origin, 3, log.root(3)), ours)
    assert site.newest(origin).status_code == 200


# --- 413, 429, 503 ---


def test_a_large_body_is_taken_and_a_larger_one_is_not(site: Site, log: Log):
    """64 KiB of body are read: many more lines than a log needs; 413 above."""
    signed, lines = log.signed(3, keys="ed25519"), []
    while len(AddCheckpoint(0, (), signed.with_lines(lines)).encode()) < (1 << 16) - 1000:
        lines.append(SignatureLine("stranger.example", b"1234", bytes(700)))
    body = AddCheckpoint(0, (), signed.with_lines(lines)).encode()
    assert len(body) > 1 << 15

    assert site.post(body).status_code == 200
    answer = site.post(body + bytes((1 << 16) + 1 - len(body)))
    assert (answer.status_code, answer.mimetype) == (413, "text/plain")


def test_a_log_steps_as_often_as_its_list_says(site: Site, log: Log):
    """429 and when to come back; a day's worth is there from the beginning."""
    write_list(site.directory, *log.verifiers, qpd=3)
    site.ticks.now += 2
    for size in range(3):
        assert site.post(log.request(size, size + 1)).status_code == 200

    answer = site.post(log.request(3, 4))

    assert (answer.status_code, code(answer)) == (429, "witness/rate")
    assert answer.headers["Retry-After"] == str(86_400 // 3)
    site.ticks.now += 86_400 // 3
    assert site.post(log.request(3, 4)).status_code == 200


def test_who_repeats_what_is_known_does_not_use_up_a_logs_steps(site: Site, log: Log):
    """Anybody can send a published checkpoint again: that is counted apart."""
    site.post(log.request(0, 3))
    answers = [site.post(log.request(*again)).status_code for again in ((3, 3), (0, 3), (2, 3)) * 40]

    assert set(answers) == {200, 409, 429}
    assert answers.count(429) == 60
    assert site.post(log.request(3, 7)).status_code == 200


def test_a_bad_proof_does_not_use_up_a_logs_steps(site: Site, log: Log):
    """A stranger can send the log's next checkpoint with another proof."""
    write_list(site.directory, *log.verifiers, qpd=2)
    site.ticks.now += 2
    site.post(log.request(0, 3))
    for _ in range(5):
        assert site.post(AddCheckpoint(3, (), log.signed(7)).encode()).status_code in (422, 429)

    assert site.post(log.request(3, 7)).status_code == 200


def test_a_clock_that_goes_back_a_little_repeats_a_time(site: Site, log: Log):
    """Times of one log never decrease."""
    site.post(log.request(0, 3))
    site.clock.now -= 5

    line = parse_signature_lines(site.post(log.request(3, 7)).text)[0]

    assert int.from_bytes(line.signature[:8], "big") == TIME


def test_a_clock_that_goes_back_far_ends_it(open_site: Open, log: Log):
    """503, also after a restart, until the clock is right again; other logs do not mind."""
    open_site().post(log.request(0, 3))
    other = Log("other.example/log", seed=bytes(32))
    site = open_site()
    write_list(site.directory, *log.verifiers, *other.verifiers)
    site.ticks.now += 2
    site.clock.now = TIME - 6

    answer = site.post(log.request(3, 7))

    assert (answer.status_code, code(answer)) == (503, "witness/clock")
    assert int(answer.headers["Retry-After"]) > 0
    assert site.post(other.request(0, 3)).status_code == 200
    site.clock.now = TIME
    assert site.post(log.request(3, 7)).status_code == 200


def test_a_database_that_is_gone_is_no_fault_of_the_client(site: Site, log: Log):
    """503, and nothing is signed."""
    with site.witness._db.write() as transaction:
        transaction.exec_driver_sql("DROP TABLE register")

    answer = site.post(log.request(0, 3))

    assert (answer.status_code, code(answer)) == (503, "store/database")
    assert site.client.get("/healthz").status_code == 503
    assert "—" not in answer.text


# --- the assessor of a state witness ---


class _Assessor:
    """Says what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, SignedCheckpoint]] = []
        self.error: Exception | None = None

    def assess(self, origin: str, signed: SignedCheckpoint) -> None:
        self.asked.append((origin, signed))
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refuted("rule/epoch-root", "no"), 422),
        (Malformed("transition/depth", "no"), 422),
        (Unavailable("witness/behind", "later"), 503),
    ],
)
def test_what_the_assessor_says_is_answered(open_site: Open, log: Log, error, status: int):
    """422 for never, 503 for not yet, both with the code first; the register does not move."""
    assessor = _Assessor()
    site = open_site(assessor=assessor)
    assessor.error = error

    answer = site.post(log.request(0, 3))

    assert (answer.status_code, code(answer)) == (status, error.code)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert site.newest().status_code == 404
    assessor.error = None
    assert site.post(log.request(0, 3)).status_code == 200


def test_the_assessor_sees_what_passed_everything_else(open_site: Open, log: Log):
    """Not a fork, not a stale size; and of the lines only those of the log."""
    assessor = _Assessor()
    site = open_site(assessor=assessor)
    stranger = SignatureLine("stranger.example", b"1234", b"x")
    site.post(AddCheckpoint(0, (), log.signed(3).with_lines([stranger])).encode())
    site.post(log.request(0, 3))
    site.post(Log(fork="!").request(3, 3))
    site.post(Log(fork="!").request(3, 5))
    site.post(log.request(3, 3))

    assert [(origin, signed.checkpoint) for origin, signed in assessor.asked] == [
        (ORIGIN, log.signed(3).checkpoint)
    ] * 2
    assert [line.name for line in assessor.asked[0][1].note.signatures] == [ORIGIN, ORIGIN]


def test_a_state_witness_takes_no_extension_lines(open_site: Open, log: Log):
    """Logs with states that can be checked write none."""
    site = open_site(assessor=_Assessor())

    answer = site.post(_extended(log, "more"))

    assert (answer.status_code, code(answer)) == (400, "checkpoint/extension")
    assert "state witness" in site.client.get("/").text


def test_waiting_for_the_assessor_uses_up_no_steps(open_site: Open, log: Log):
    """A log may ask again and again while its states are being checked."""
    assessor = _Assessor()
    site = open_site(assessor=assessor)
    write_list(site.directory, *log.verifiers, qpd=1)
    site.ticks.now += 2
    assessor.error = Unavailable("witness/behind", "later")
    for _ in range(100):
        assert site.post(log.request(0, 3)).status_code == 503
    assessor.error = None

    assert site.post(log.request(0, 3)).status_code == 200


# --- reads ---


def test_the_newest_checkpoint_is_served_with_its_signatures(site: Site, log: Log):
    """The log's lines that were verified, and ours as they were returned."""
    assert site.newest().status_code == 404
    for old, new in ((0, 3), (3, 7)):
        answer = site.post(log.request(old, new))
        served = site.newest()

        assert (served.status_code, served.content_type) == (200, "text/plain; charset=utf-8")
        signed = SignedCheckpoint.parse(served.data)
        assert signed.checkpoint == log.signed(new).checkpoint
        # What comes before our lines is what the log sent.
        sent = log.request(old, new).partition(b"\n\n")[2].decode()
        assert served.text.count("— log.example/deletions ") == 2
        assert served.text.endswith(answer.text)
        assert served.text.split("\n")[:3] == sent.split("\n")[:3]


def test_the_path_of_the_origin_hash_is_the_one_of_the_specification(site: Site, log: Log):
    """SHA-256 of the origin, lower-case hex; no other spelling."""
    site.post(log.request(0, 3))
    digest = "85fbf347bc4b0a14fcbfe50c3e1f12044fafd437e3b2d5964e3ec4a637867581"
    assert digest == sha256(ORIGIN.encode()).hex()

    assert site.client.get(f"/{digest}/checkpoint").status_code == 200
    for other in (digest.upper(), digest[:-1], f"0{digest}", ORIGIN.replace("/", "%2F"), "0" * 64):
        assert site.client.get(f"/{other}/checkpoint").status_code == 404


def test_a_log_that_is_no_longer_listed_is_still_served(open_site: Open, log: Log):
    """What was cosigned stays, also after a restart."""
    site = open_site()
    site.post(log.request(0, 3))
    write_list(site.directory)

    for again in (site, open_site()):
        again.ticks.now += 2
        assert again.post(log.request(3, 7)).status_code == 404
        assert again.newest().status_code == 200


def test_the_front_page_says_what_this_is(site: Site):
    """Name, how many logs, and the keys to trust."""
    answer = site.client.get("/")

    assert answer.mimetype == "text/plain"
    assert "wit.example/w1: a witness of 1 logs" in answer.text
    assert "wit.example/w1+92d4f1c8+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X\n" in answer.text
    assert site.client.get("/healthz").text == "ok\n"


def test_what_became_of_requests_is_counted(site: Site, log: Log):
    """For Prometheus."""
    site.post(log.request(0, 3))
    site.post(log.request(0, 3))

    page = site.client.get("/metrics").text

    assert 'attest_witness_answers_total{answer="cosigned"} 1.0' in page
    assert 'attest_witness_answers_total{answer="witness/stale"} 1.0' in page
    assert "attest_witness_list_good 1.0" in page
    (site.directory / "logs").write_text("nonsense")
    site.ticks.now += 2
    site.post(log.request(0, 3))
    assert "attest_witness_list_good 0.0" in site.client.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/add-checkpoint", 405),
        ("HEAD", "/add-checkpoint", 405),
        ("PUT", "/add-checkpoint", 405),
        ("OPTIONS", "/add-checkpoint", 405),
        ("POST", "/", 405),
        ("POST", "/healthz", 405),
        ("POST", f"/{'0' * 64}/checkpoint", 405),
        ("POST", "/add-checkpoint/", 404),
        ("POST", "//add-checkpoint", 404),
        ("POST", "/sign-subtree", 404),
        ("GET", "/checkpoint", 404),
        ("GET", "/x/y/z", 404),
        ("GET", "/%00/checkpoint", 404),
        ("BREW", "/add-checkpoint", 405),
    ],
)
def test_other_paths_and_methods_are_refused_in_plain_text(site: Site, method: str, path: str, status: int):
    """404 and 405 with `Allow`, never HTML."""
    answer = site.client.open(path, method=method)

    assert (answer.status_code, answer.mimetype) == (status, "text/plain")
    assert ("Allow" in answer.headers) == (status == 405)


def test_every_answer_has_the_headers_that_browsers_obey(site: Site, log: Log):
    """Nothing is sniffed, framed or kept that should not be."""
    site.post(log.request(0, 3))
    for answer in (site.post(b""), site.post(log.request(3, 5)), site.newest(), site.client.get("/x")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] in ("no-store", "public, max-age=2")


def test_a_fault_of_ours_is_told_without_what_was_sent(site: Site, log: Log, monkeypatch: pytest.MonkeyPatch):
    """500 with a number to ask for."""

    def fail(_body: bytes) -> str:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(site.witness, "add_checkpoint", fail)
    answer = site.post(log.request(0, 3))

    assert (answer.status_code, answer.mimetype) == (500, "text/plain")
    assert "secret" not in answer.text


def test_a_log_key_signs_only_its_own_origin(site: Site):
    """A listed key under an origin that another entry lists is a stranger there."""
    first, second = Log(), Log("other.example/log", seed=bytes(32))
    write_list(site.directory, *first.verifiers, *second.verifiers)
    site.ticks.now += 2
    signed = sign_checkpoint(Checkpoint(ORIGIN, 3, first.root(3)), second.ed25519, second.mldsa44, TIME)
    lines = second.signed(3).note.signatures
    foreign = SignedCheckpoint(signed.checkpoint, Note(signed.note.text, lines))

    assert site.post(AddCheckpoint(0, (), foreign).encode()).status_code == 403
