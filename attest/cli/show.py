"""`attest show`: say what a file is and what it says, without judging it."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from attest.cli import output
from attest.cli.verify import moment, read_file
from attest.encoding import decode_cbor, encode_base64url, encode_cbor, parse_base64
from attest.errors import AttestError, Malformed
from attest.formats import bundle as bundles
from attest.formats import holder as holders
from attest.formats import keepsake as keepsakes
from attest.formats import sample as samples
from attest.formats.bundle import Bundle, EntryProof
from attest.formats.checkpoint import SignedCheckpoint
from attest.formats.keepsake import Keepsake
from attest.formats.note import KeyType
from attest.formats.policy import Policy
from attest.formats.rows import ROW, RowFile
from attest.formats.state import PartyHead, State, SystemHead
from attest.formats.statement import Statement
from attest.formats.strict_json import parse_json
from attest.formats.tlog_proof import TlogProof
from attest.ledger import transition
from attest.ledger.evidence import Evidence, is_evidence
from attest.merkle import tiles
from attest.merkle.tree import leaf_hash

MAX_FILE = 128 << 20  # bytes: the largest row file twice
FEW = 8  # rows or hashes shown of many
_HOLDER = encode_cbor("format") + encode_cbor(holders.FORMAT)
_TIMES = ("issued_at", "erased_at", "time", "by", "iat")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
def show(files: tuple[Path, ...]) -> int:
    """Explain any artefact: statement, row file, bundle, keepsake, checkpoint, proof, policy, tile, evidence, sample.

    Nothing is verified: use `attest verify` for that.
    """
    code = output.OK
    for path in files:
        try:
            what, said = explain(read_file(path, MAX_FILE), path)
        except AttestError as error:
            output.say(f"{path}:")
            output.error(error)
            code = output.UNDECIDED
            continue
        output.text(f"{path}: {what}")
        output.text("\n".join(_lines(said, "  ")))
    return code


def explain(encoded: bytes, path: Path) -> tuple[str, Any]:
    """Return what a file is, and its content as nested dicts, lists and values.

    Raises:
        Malformed: `show/unknown`, none of our artefacts; or what the artefact's own parser raises.
    """
    for looks_like, read in _KINDS:
        if looks_like(encoded, path):
            return read(encoded)
    raise Malformed(
        "show/unknown",
        "not an artefact of attest: no statement, row file, bundle, keepsake, checkpoint, proof, policy, tile, evidence"
        " or file of a sample",
    )


def _has_format(name: str) -> Callable[[bytes, Path], bool]:
    return lambda encoded, _: encoded[:1] == b"{" and f'"{name}"'.encode() in encoded[:4096]


def _in(folder: str) -> Callable[[bytes, Path], bool]:
    return lambda _, path: folder in path.absolute().parts


def _is_policy(encoded: bytes, _: Path) -> bool:
    lines = encoded[: 1 << 20].split(b"\n")
    return any(line.strip().startswith(b"quorum ") for line in lines)


def _is_entries(encoded: bytes, path: Path) -> bool:
    return encoded[2:4] == b"\xd2\x84" or (_in("tile")(encoded, path) and "entries" in path.absolute().parts)


def _is_worksheet(encoded: bytes, _: Path) -> bool:
    # As a spreadsheet writes it, too.
    words = encoded[:64].removeprefix(b"\xef\xbb\xbf").replace(b'"', b"").replace(b";", b",").replace(b"\t", b",")
    return words.startswith(b"draw,position,")


def _is_rows(encoded: bytes, _: Path) -> bool:
    indexes = [encoded[at : at + 32] for at in range(0, min(len(encoded), 64 * ROW), ROW)]
    return bool(encoded) and len(encoded) % ROW == 0 and indexes == sorted(set(indexes))


def _private_key(_: bytes) -> tuple[str, Any]:
    return "a private key: not shown", {"hint": "keep it to yourself; nobody needs it to verify anything"}


def _bundle(encoded: bytes) -> tuple[str, Any]:
    found = Bundle.parse(encoded)
    return f"a {found.kind} bundle", _bundle_view(found)


def _bundle_view(found: Bundle) -> dict[str, Any]:
    return {
        "checkpoint": _checkpoint_view(found.checkpoint),
        "holder": _head_view(PartyHead.decode(found.head)),
        "locators": [f"{each.type} (the bundle does not say which)" for each in found.locators],
        "systems": [{"head": _head_view(SystemHead.decode(head))} for head, _ in found.systems],
        "states": [
            {
                "locator": each.locator,
                "system": each.system,
                "state": "none: never committed" if each.state is None else _state_view(State.parse(each.state)),
            }
            for each in found.states
        ],
        "rows": [
            {"locator": row.locator, "system": row.system, "entry": row.entry, "row": row.position,
             "commitment": row.commitment} for row in found.rows
        ],
        "entries": [_entry_view(entry) for entry in found.entries],
    }  # fmt: skip


def _entry_view(proof: EntryProof) -> dict[str, Any]:
    return {"position": proof.position, **_statement_view(Statement.parse(proof.entry))}


def _state_view(state: State) -> str:
    word = {1: "held", 2: "erased"}[state.status]
    return f"{word} by entry {state.position}, generation {state.generation}, version {state.version}"


def _head_view(head: PartyHead | SystemHead) -> Mapping[str, Any]:
    view: Mapping[str, Any] = decode_cbor(head.encode())
    return view


def _keepsake(encoded: bytes) -> tuple[str, Any]:
    found = Keepsake.parse(encoded)
    return "a keepsake: keep it private", {
        "warning": keepsakes.WARNING,
        "origin": found.origin,
        "holder": found.holder,
        "locator": found.locator,
        "holds": [
            {
                "system": hold.system,
                "entry": hold.entry,
                "entry_id": hold.entry_id,
                "records": len(hold.records),
                "fits the rest": found.fault(hold) or "yes; `attest verify` says whether the log has it",
            }
            for hold in found.holds
        ],
    }


def _join(encoded: bytes) -> tuple[str, Any]:
    return "a join request", parse_json(encoded, 1 << 20)


def _checkpoint(encoded: bytes) -> tuple[str, Any]:
    return "a signed checkpoint", _checkpoint_view(SignedCheckpoint.parse(encoded))


def _checkpoint_view(signed: SignedCheckpoint) -> dict[str, Any]:
    checkpoint = signed.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root,
        "signatures": [
            f"{line.name} (key id {line.key_id.hex()}), not verified here" for line in signed.note.signatures
        ],
    }


def _alarm(encoded: bytes) -> tuple[str, Any]:
    found = parse_json(encoded, MAX_FILE)
    if not isinstance(found, dict):
        raise Malformed("show/unknown", "not an object")
    answer = parse_base64(str(found.pop("answer", ""))).decode("utf-8", "replace")
    witnessed, request = found.pop("witnessed", None), str(found.pop("request", ""))
    head, _, note = request.partition("\n\n")
    said: dict[str, Any] = {
        **found,
        "we said": {"stands at": head.split("\n")[0], "checkpoint": _checkpoint_view(SignedCheckpoint.parse(note))},
        "it answered": answer.rstrip("\n") or "nothing",
    }
    if isinstance(witnessed, str):
        said["it has cosigned"] = _checkpoint_view(SignedCheckpoint.parse(parse_base64(witnessed)))
    return "what a witness answered that contradicts a log's database", said


def _proof(encoded: bytes) -> tuple[str, Any]:
    found = TlogProof.parse(encoded)
    return "a proof that an entry is in a log (.tlog-proof)", {
        "index": found.index,
        "path": f"{len(found.path)} hashes",
        "checkpoint": _checkpoint_view(found.signed),
    }


def _policy(encoded: bytes) -> tuple[str, Any]:
    found = Policy.parse(encoded)
    kinds = {KeyType.ED25519: "Ed25519", KeyType.COSIGNATURE: "Ed25519 cosignatures", KeyType.MLDSA44: "ML-DSA-44"}
    return "a policy: whom its owner trusts", {
        "logs": [
            f"{log.verifier.name} ({kinds[log.verifier.type]}, key id {log.verifier.key_id.hex()})"
            for log in found.logs
        ],
        "witnesses": [f"{each.name}: {each.verifier.name} ({kinds[each.verifier.type]})" for each in found.witnesses],
        "groups": [f"{group.name}: {group.threshold} of {', '.join(group.members)}" for group in found.groups],
        "quorum": found.quorum or "none: no witness is asked for",
    }


def _cose(encoded: bytes) -> tuple[str, Any]:
    try:
        found = Statement.parse(encoded)
    except Malformed as error:
        other = _log_signed(encoded)
        if other is None:
            raise error from None
        return other
    return f"a statement, {found.payload.KIND}", _statement_view(found)


def _statement_view(found: Statement) -> dict[str, Any]:
    fields = found.payload_map()
    return {
        "entry_id": found.entry_id,
        "issuer": found.issuer,
        "stream": found.stream,
        "log": found.audience,
        "issued_at": found.issued_at,
        "kid": found.kid,
        **fields,
    }


def _log_signed(encoded: bytes) -> tuple[str, Any] | None:
    """Read a receipt, promise or refusal loosely: enough to explain it."""
    try:
        protected, _, payload, _ = decode_cbor(encoded[1:])
        header = decode_cbor(protected)
        if header.get(16) == "application/scitt-receipt+cose":
            claims = header.get(15, {})
            return "a COSE receipt of inclusion (RFC 9942)", {"log": claims.get(2), "iat": claims.get(6)}
        said = decode_cbor(payload)
    except (AttestError, ValueError, AttributeError, TypeError):
        return None
    if not isinstance(said, dict) or said.get("kind") not in ("promise/1", "refusal/1"):
        return None
    entry = said.get("entry")
    if isinstance(entry, bytes):
        said["entry"] = encode_base64url(entry)
    return f"a log-signed {said['kind'].removesuffix('/1')}", said


def _transition(encoded: bytes) -> tuple[str, Any]:
    found = transition.parse_transition(encoded)
    entries = [Statement.parse(entry) for entry in found["entries"]]
    return "a transition proof of one epoch", {
        "size": found["size"],
        "entries": [f"{found['size'] + n}: {entry.payload.KIND} {entry.stream}" for n, entry in enumerate(entries)],
        "top": f"{len(found['top'])} bytes",
        "heads": len(found["heads"]),
        "holders": [
            {
                "party": holder["party"],
                "systems": [f"{s['system']}: map {len(s['map'])} bytes" for s in holder["systems"]],
            }
            for holder in found["holders"]
        ],
    }


def _evidence(encoded: bytes) -> tuple[str, Any]:
    found = Evidence.parse(encoded)
    return f"evidence of {found.code}", {
        "says": found.message,
        "checkpoint": _checkpoint_view(found.signed),
        found.exhibit.KIND: _brief(found.exhibit.fields()),
        "whether it is so": "attest verify says it, under a policy of yours",
    }


def _brief(value: Any) -> Any:
    """Shorten what an exhibit holds: it may be a row file."""
    if isinstance(value, Mapping):
        kept = {_plain(key): _brief(member) for key, member in list(value.items())[:FEW]}
        return kept | ({"…": f"{len(value) - FEW} more"} if len(value) > FEW else {})
    if isinstance(value, list | tuple):
        if value and all(isinstance(member, bytes) and len(member) == 32 for member in value):
            return f"{len(value)} hashes"
        return [_brief(member) for member in value[:FEW]] + [f"… and {len(value) - FEW} more"] * (len(value) > FEW)
    if isinstance(value, bytes) and value[:2] == b"\xd2\x84":
        with contextlib.suppress(Malformed):
            said = Statement.parse(value)
            return f"{said.payload.KIND} by {said.issuer}, {len(value)} bytes"
    return value


def _party_proof(encoded: bytes) -> tuple[str, Any]:
    found = holders.PartyProof.parse(encoded)
    return "where a party stands (holders/<id>/proof)", {
        "checkpoint": _checkpoint_view(found.signed),
        "head": _head_view(PartyHead.decode(found.head)),
        "systems": [_head_view(SystemHead.decode(head)) for head, _ in found.systems],
    }


def _plan(encoded: bytes) -> tuple[str, Any]:
    return "the plan of a sample", _plan_view(samples.Plan.parse(encoded))


def _plan_view(found: samples.Plan) -> dict[str, Any]:
    return {
        "sha256": found.digest,
        "made at": moment(found.made_at),
        "holder": found.holder,
        "system": found.system,
        "direction": found.direction,
        "drawn": f"{found.size} of {found.count}",
        "failures allowed": found.allowed,
        "tolerable": f"{found.tolerable_ppm / 10_000:.10g} %",
        "confidence": f"{found.confidence_ppm / 10_000:.10g} %",
        "recall": f"{found.recall_ppm / 10_000:.10g} %",
        "beacon": f"round {found.round} of {found.source}",
        "round at": "not known" if found.chain is None else moment(found.chain.time_of(found.round)),
        "checkpoint": _checkpoint_view(found.checkpoint),
    }


def _beacon(encoded: bytes) -> tuple[str, Any]:
    found = samples.Beacon.parse(encoded)
    return "what a beacon said", {
        "source": found.source,
        "round": found.round,
        "value": found.value,
        "signature": "none" if found.signature is None else f"{len(found.signature)} bytes, not verified here",
    }


def _result(encoded: bytes) -> tuple[str, Any]:
    found = samples.Result.parse(encoded)
    return "the signed result of a sample", {
        "auditor": found.auditor,
        "issued_at": found.issued_at,
        "kid": found.kid,
        "outcomes": dict(sorted(Counter(answer.outcome for answer in found.answers).items())),
        "failures": found.failures,
        "at most wrong": f"{found.most_wrong} of {found.plan.count}",
        "plan": _plan_view(found.plan),
        "whether it is so": "attest sample verify says it, with the auditor's key",
    }


def _frame(encoded: bytes) -> tuple[str, Any]:
    return "the frame of a sample: keep it private", {"rows": encoded.count(b"\n") - 1}


def _worksheet(encoded: bytes) -> tuple[str, Any]:
    said = "attest sample check judges it; what it names is personal data, and not shown"
    return "the worksheet of a sample", {"lines": encoded.count(b"\n") - 1, "hint": said}


def _rows(encoded: bytes) -> tuple[str, Any]:
    found = RowFile.parse(encoded)
    first = [f"{i.hex()} {c.hex()}" for i, c in zip(found.indexes[:FEW], found.commitments[:FEW], strict=True)]
    more = [f"… and {len(found) - FEW} more"] if len(found) > FEW else []
    return "a row file", {"count": len(found), "root": found.root(), "rows (index commitment)": first + more}


def _entries(encoded: bytes) -> tuple[str, Any]:
    count, at = 0, 0
    while at + 2 <= len(encoded):
        at += 2 + int.from_bytes(encoded[at : at + 2], "big")
        count += 1
    entries = tiles.parse_bundle(encoded, count)
    return "an entry bundle", {
        "entries": [f"{Statement.parse(e).payload.KIND} {leaf_hash(e).hex()}" for e in entries],
    }


def _tile(encoded: bytes) -> tuple[str, Any]:
    hashes = [encoded[at : at + 32] for at in range(0, len(encoded), 32)]
    shown: list[Any] = [*hashes[:FEW]]
    return "a tile", {"hashes": len(hashes), "first": shown}


_KINDS: tuple[tuple[Callable[[bytes, Path], bool], Callable[[bytes], tuple[str, Any]]], ...] = (
    (lambda encoded, _: encoded.startswith(b"-----BEGIN") and b"PRIVATE" in encoded[:64], _private_key),
    (_has_format(keepsakes.FORMAT), _keepsake),
    (_has_format(bundles.FORMAT), _bundle),
    (_has_format("attest-join/1"), _join),
    (_has_format("attest-witness-alarm/1"), _alarm),
    (_has_format(samples.PLAN), _plan),
    (_has_format(samples.BEACON), _beacon),
    (lambda encoded, _: encoded.startswith(b"attest-frame/1 "), _frame),
    (_is_worksheet, _worksheet),
    # Evidence holds checkpoints and statements of others, so it is asked for before them.
    (lambda encoded, _: encoded[:1] >= b"\xa0" and is_evidence(encoded), _evidence),
    (lambda encoded, _: encoded[:1] >= b"\xa0" and _HOLDER in encoded[: 1 << 20], _party_proof),
    (lambda encoded, _: encoded[:1] == b"\xd2" and samples.CONTENT_TYPE.encode() in encoded[:1024], _result),
    (lambda encoded, _: encoded.startswith(b"c2sp.org/tlog-proof@"), _proof),
    (lambda encoded, _: b"\n\n\xe2\x80\x94 " in encoded[: 1 << 20], _checkpoint),
    (lambda encoded, _: encoded[:1] == b"\xd2", _cose),
    (lambda encoded, _: encoded[:1] >= b"\xa0" and transition.FORMAT.encode() in encoded, _transition),
    (_is_entries, _entries),
    (lambda encoded, path: _in("tile")(encoded, path) and bool(encoded) and len(encoded) % 32 == 0, _tile),
    (_is_policy, _policy),
    (_is_rows, _rows),
    (lambda encoded, _: bool(encoded) and len(encoded) % 32 == 0 and len(encoded) <= 8192, _tile),
)


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            name = _plain(key)
            if _is_plain(member):
                shown = f"{member} ({moment(member)})" if name in _TIMES and isinstance(member, int) else _plain(member)
                yield f"{indent}{name}: {shown}"
            elif not member:
                yield f"{indent}{name}: none"
            else:
                yield f"{indent}{name}:"
                yield from _lines(member, indent + "  ")
    else:
        for member in value:
            if _is_plain(member):
                yield f"{indent}- {_plain(member)}"
            else:
                first, *rest = list(_lines(member, indent + "  ")) or [indent]
                yield f"{indent}- {first.strip()}"
                yield from rest


def _is_plain(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple)


def _plain(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case bytes():
            return value.hex() if len(value) <= 64 else f"{value[:32].hex()}… ({len(value)} bytes)"
        case str():
            # A file may try to speak to the terminal, or to begin a line of ours.
            return output.printable(value)
        case _:
            return str(value)
