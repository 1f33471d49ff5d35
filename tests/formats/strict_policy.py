"""The strictest grammar of policy files: what every parser we know takes, written down once more and slowly.

Read in torchwood 0.9.0 and 0.10.0 (`ParsePolicy`), Tessera 1.0.4 and its main branch of 2026-08
(`NewWitnessGroupFromPolicy`) and sigsum-go `192b553` (`doc/policy.md`, with vkeys for its hex keys). Each rule names
those that need it. Nothing here comes from `attest`.
"""

import base64
import hashlib
import re
from urllib.parse import urlsplit

LINE = 65_535  # bytes with LF: Go's bufio.Scanner gives up on longer ones (Tessera, sigsum)
WORDS = {"log", "witness", "group", "quorum", "any", "all", "none"}  # no names (Tessera); `none` (all)
ORDER = ["log", "witness", "group", "quorum"]


class TooStrict(Exception):
    """Some parser refuses this file, or reads it as another policy."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise TooStrict(what)


def read(wire: bytes, *, mldsa: bool = True) -> None:
    """Read a policy file as the strictest parser would. Raises `TooStrict`.

    Args:
        mldsa: are ML-DSA-44 witnesses taken? Not by torchwood 0.9.0, nor by Tessera 1.0.4.
    """
    need(wire.endswith(b"\n"), "a last line without LF")
    need(len(wire) <= 1 << 20, "a large file")
    # Tessera and torchwood split at any Unicode space, sigsum and the specification at two of them.
    text = wire.decode("utf-8")
    need(not re.search(r"[^\S \n]", text) and "\x85" not in text, "a space that is none to somebody")
    need(not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text), "a control character")  # sigsum
    need("#" not in text, "a comment: torchwood and Tessera cut lines, sigsum does not")
    lines = text.split("\n")[:-1]
    need(all(line and line == line.strip(" ") and "  " not in line for line in lines), "odd spacing")
    need(all(len(line.encode()) + 1 <= LINE for line in lines), "a line too long")
    split = [line.split(" ") for line in lines]
    order = [ORDER.index(fields[0]) if fields[0] in ORDER else -1 for fields in split]
    need(order and -1 not in order and order == sorted(order), "an unknown keyword, or a definition that comes late")
    need(order.count(0) == 1, "another number of logs than one: torchwood wants all of them to sign")
    need(order.count(3) == 1, "another number of quorums than one")  # torchwood, sigsum
    keys: set[bytes] = set()
    defined: set[str] = set()
    used: set[str] = set()
    key_names: dict[str, str] = {}  # by URL
    for fields in split:
        if fields[0] == "log":
            need(len(fields) in (2, 3), "fields of a log")
            vkey(fields[1], {1}, keys)
        elif fields[0] == "witness":
            need(len(fields) == 4, "a witness without URL")  # Tessera
            name(fields[1], defined)
            key_name = vkey(fields[2], {4, 6} if mldsa else {4}, keys)
            url(fields[3])
            # One URL, one witness (Tessera).
            need(key_names.setdefault(fields[3], key_name) == key_name, "one URL under two key names")
        elif fields[0] == "group":
            need(len(fields) >= 4, "a group without members")  # torchwood, sigsum
            members = fields[3:]
            # A member of one group, once (sigsum).
            need(len(set(members)) == len(members) and not used & set(members), "a member twice")
            need(set(members) <= defined, "a member that is not defined above")
            used |= set(members)
            name(fields[1], defined)
            if fields[2] not in ("any", "all"):
                need(re.fullmatch("[1-9][0-9]{0,2}", fields[2]), "a threshold that is no number")
                # Eight bits (Tessera).
                need(1 <= int(fields[2]) <= min(len(members), 255), "a threshold out of range")
        else:
            need(len(fields) == 2 and (fields[1] in defined or fields[1] == "none"), "a quorum of nothing")


def name(word: str, defined: set[str]) -> None:
    need(word not in WORDS, f"a name that is a word of the format: {word}")
    need(word not in defined, f"a name twice: {word}")
    defined.add(word)


def vkey(word: str, types: set[int], keys: set[bytes]) -> str:
    """Check a verifier key, and return its name."""
    own, key_id, encoded = word.split("+", 2)
    need(own and len(own.encode()) <= 255, "a key name")
    need(re.fullmatch("[0-9a-f]{8}", key_id), "a key id")
    public = base64.b64decode(encoded, validate=True)
    need(base64.b64encode(public).decode() == encoded, "base64 with a second spelling")
    need(public[0] in types and len(public) == {1: 33, 4: 33, 6: 1313}[public[0]], "a key of another type")
    need(hashlib.sha256(own.encode() + b"\n" + public).digest()[:4].hex() == key_id, "the id of another key")
    need(public[1:] not in keys, "a key twice")  # sigsum
    keys.add(public[1:])
    return own


def url(word: str) -> None:
    """Go's url.Parse takes it, and it is one that a log can ask."""
    need(re.fullmatch(r"https?://[^/?#]+([/][^?#]*)?", word), "a URL without scheme or host, or with a query")
    need(not re.search("%(?![0-9A-Fa-f]{2})", word), "a percent sign that escapes nothing")
    place = urlsplit(word).netloc
    need(re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", place), "a host that is none to somebody")
