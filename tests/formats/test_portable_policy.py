"""Policy files that we write are read by the strictest parser, and by every other as the same policy."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.crypto.keys import MLDSASigningKey, SigningKey
from attest.errors import Malformed
from attest.formats.note import KeyType, NoteVerifier
from attest.formats.policy import MAX_LINE, Policy, PolicyGroup, PolicyLog, PolicyWitness, add_witness, remove_witness
from tests.formats.strict_policy import TooStrict, read
from tests.world import World

steady = settings(derandomize=True, deadline=None, max_examples=150, database=None)
ORIGIN = "log.example/deletions"
LOG = NoteVerifier.of(ORIGIN, KeyType.ED25519, SigningKey.from_seed(bytes(32)).public)
BARE = Policy((PolicyLog(LOG, "https://log.example/deletions"),), (), (), None)
PUBLIC = [SigningKey.from_seed(number.to_bytes(32, "big")).public for number in range(1, 300)]
MLDSA = [MLDSASigningKey.from_seed(number.to_bytes(32, "big")).public for number in range(1, 4)]

names = st.one_of(
    st.sampled_from(
        ["a", "b", "north", "any", "all", "log", "none", "witness", "witnesses", "quorum", "a.1", "#", "zürich"]
    ),
    st.text(max_size=8),
)
urls = st.one_of(
    st.sampled_from(
        ["https://a.example", "https://b.example/w", "http://[::1]:8080/", "https://a.example/%zz", "x", "https:"]
    ),
    st.text(max_size=12).map(lambda rest: "https://c.example/" + rest),
    st.text(max_size=12).map(lambda rest: "https://" + rest),
)
keys = st.tuples(st.integers(0, 5), st.sampled_from(["w.example/one", "w.example/two", ORIGIN]), st.booleans())
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), names, urls, st.lists(keys, min_size=1, max_size=3), st.none() | st.integers(0, 4)),
        st.tuples(st.just("remove"), names),
    ),
    max_size=8,
)


def vkey(number: int, name: str, post_quantum: bool) -> str:
    if post_quantum:
        return NoteVerifier.of(name, KeyType.MLDSA44, MLDSA[number % 3]).encode()
    return NoteVerifier.of(name, KeyType.COSIGNATURE, PUBLIC[number]).encode()


@steady
@given(steps)
def test_what_the_operators_commands_write_everybody_reads(steps):
    """Whatever witnesses are added and removed: a policy is refused, or it has one spelling that all take."""
    policy = BARE
    for kind, name, *rest in steps:
        try:
            if kind == "add":
                url, chosen, quorum = rest
                policy = add_witness(policy, name, url, [vkey(*key) for key in chosen], quorum)
            else:
                policy = remove_witness(policy, name)
        except Malformed:
            continue
        read(policy.encode())
        assert Policy.parse(policy.encode()) == policy


def test_most_of_these_steps_are_taken():
    """Or the property above would be about nothing."""
    one = add_witness(BARE, "north", "https://north.example", [vkey(1, "n.example", False), vkey(1, "n.example", True)])
    two = add_witness(one, "zürich", "http://[::1]:8080/w", [vkey(2, "z.example", False)], 2)
    read(two.encode())
    with pytest.raises(TooStrict, match="another type"):
        read(two.encode(), mldsa=False)
    read(remove_witness(two, "north").encode(), mldsa=False)
    read(BARE.encode(), mldsa=False)


@pytest.mark.parametrize("name", ["log", "witness", "group", "quorum", "any", "all", "none"])
def test_no_witness_is_called_as_a_word_of_the_format(name):
    """Tessera takes them for keywords wherever they stand."""
    with pytest.raises(Malformed, match="policy/name"):
        add_witness(BARE, name, "https://a.example", [vkey(1, "w.example", False)])


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://a b",
        "https://a.example/%zz",
        "https://a.example/?q",
        "https://u@a.example",
        "//a",
        "https://a.example:x",
    ],
)
def test_a_url_is_one_for_everybody(url):
    """Go's parser refuses some of these, and reads others in its own way."""
    with pytest.raises(Malformed, match="policy/url"):
        add_witness(BARE, "a", url, [vkey(1, "w.example", False)])


def test_a_url_belongs_to_one_witness():
    """Two keys behind one URL are of one name, or clients send one witness's cosignatures to the other."""
    one = add_witness(BARE, "a", "https://a.example", [vkey(1, "a.example", False)])
    with pytest.raises(Malformed, match="policy/url"):
        add_witness(one, "b", "https://a.example", [vkey(2, "b.example", False)])


def test_lines_and_numbers_stay_within_what_others_read():
    """65,535 bytes, and 255 for a number; `all` has no number."""
    assert of_many(2, "w") == one_more(one_more(BARE, 0, "w"), 1, "w")
    long = "n" * 250
    policy = of_many(250, long)
    for number in range(250, 262):
        try:
            policy = one_more(policy, number, long)
        except Malformed as error:
            assert error.code == "policy/size"
            break
    else:
        pytest.fail("no end to a line")
    read(policy.encode())
    assert MAX_LINE - 600 < max(map(len, policy.encode().split(b"\n"))) < MAX_LINE

    policy = one_more(of_many(257, "w"), 257, "w")
    read(remove_witness(policy, "w0", 255).encode())
    read(remove_witness(policy, "w0", 257).encode())
    with pytest.raises(Malformed, match="policy/threshold"):
        remove_witness(policy, "w0", 256)


def one_more(policy: Policy, number: int, name: str) -> Policy:
    key = vkey(number, f"w{number}.example", False)
    return add_witness(policy, f"{name}{number}", f"https://w{number}.example", [key], 1)


def of_many(count: int, name: str) -> Policy:
    """What so many calls of `one_more` lead to, which check all keys each time."""
    lines = [f"witness {name}{n} {vkey(n, f'w{n}.example', False)} https://w{n}.example" for n in range(count)]
    members = " ".join(f"{name}{n}" for n in range(count))
    text = BARE.encode().decode().splitlines()[0]
    return Policy.parse("\n".join([text, *lines, f"group witnesses 1 {members}", "quorum witnesses", ""]).encode())


@steady
@given(st.data())
def test_every_policy_is_written_so_that_only_its_content_can_be_too_much(data):
    """Spacing, order, thresholds and spellings are right whatever the policy is: groups of groups as well."""
    count = data.draw(st.integers(1, 6))
    plain = st.from_regex(r"[a-z0-9.\-äλ]{1,12}", fullmatch=True).filter(
        lambda name: name not in ("log", "any", "all", "none", "witness", "group", "quorum")
    )
    chosen = data.draw(st.lists(plain, min_size=2 * count, max_size=2 * count, unique=True))
    witnesses = tuple(
        PolicyWitness(name, NoteVerifier.of(f"{n}.example", KeyType.COSIGNATURE, PUBLIC[n]), f"https://{n}.example")
        for n, name in enumerate(chosen[:count])
    )
    free, groups = list(chosen[:count]), []
    for name in chosen[count:]:
        if not free:
            break
        members = data.draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        groups.append(PolicyGroup(name, data.draw(st.integers(1, len(members))), tuple(members)))
        free = [each for each in free if each not in members]
        if data.draw(st.booleans()):
            free.append(name)
    quorum = data.draw(st.sampled_from([None, *chosen[:count], *(group.name for group in groups)]))

    policy = Policy(BARE.logs, witnesses, tuple(groups), quorum)

    read(policy.encode())
    assert Policy.parse(policy.encode()) == policy


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda wire: wire[:-1], "without LF"),
        (lambda wire: wire + b"# end\n", "comment"),
        (lambda wire: wire.replace(b"quorum", b" quorum"), "spacing"),
        (lambda wire: wire.replace(b"quorum a", b"quorum\xc2\xa0a"), "a space that is none"),
        (lambda wire: wire.replace(b"https://a.example\n", b"\n"), "spacing"),
        (lambda wire: wire.replace(b" https://a.example\n", b"\n"), "without URL"),
        (
            lambda wire: b"log " + NoteVerifier.of("x", KeyType.ED25519, PUBLIC[9]).encode().encode() + b"\n" + wire,
            "logs",
        ),
        (lambda wire: wire + b"quorum none\n", "quorums"),
        (lambda wire: b"quorum none\n" + wire, "late"),
        (lambda wire: wire.replace(b"quorum a", b"quorum b"), "nothing"),
        (lambda wire: wire.replace(b"witness a ", b"witness all "), "word of the format"),
    ],
)
def test_the_strict_grammar_is_strict(broken, why):
    """Each of its rules refuses something; otherwise the tests above would prove little."""
    good = Policy(
        BARE.logs,
        (PolicyWitness("a", NoteVerifier.of("a.example", KeyType.COSIGNATURE, PUBLIC[1]), "https://a.example"),),
        (),
        "a",
    )
    read(good.encode())
    with pytest.raises(TooStrict, match=why):
        read(broken(good.encode()))


def test_the_services_own_files_are_for_everybody(tmp_path: Path):
    """The policy that a new log writes and serves, without and with a URL."""
    world = World(tmp_path / "log", url="https://log.example/deletions")
    served = world.node.policy()
    world.close()

    read(served, mldsa=False)
    assert served == (tmp_path / "log" / "policy").read_bytes()
    read(World(tmp_path / "bare").policy.encode(), mldsa=False)
