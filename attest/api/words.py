"""Statements in words, for pages and feeds."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, assert_never

from attest.formats.statement import (
    Epoch,
    Hold,
    Keys,
    Log,
    Party,
    PartyEnd,
    Policy,
    Statement,
    Systems,
    Tombstone,
)

KINDS: Final = {
    "hold/1": "Held",
    "tombstone/1": "Erased",
    "systems/1": "Systems",
    "party/1": "Admission",
    "keys/1": "Keys",
    "party-end/1": "End",
    "epoch/1": "Seal",
    "policy/1": "Rules",
    "log/1": "Beginning",
}
CAUSES: Final = {
    "collected": "newly collected",
    "backfill": "held before, and declared now",
    "restored": "restored from a backup",
    "corrected": "corrected",
    "retracted": "held again, after a deletion by mistake",
    "migrated": "moved here from elsewhere",
}
METHODS: Final = {
    "logical_delete": "marked as deleted",
    "row_delete_committed": "rows deleted, and the deletion committed",
    "compacted": "deleted and compacted",
    "overwritten": "overwritten",
    "nist:clear": "cleared (NIST SP 800-88)",
    "nist:purge": "purged (NIST SP 800-88)",
    "nist:purge:cryptographic_erase": "purged by destroying the encryption key (NIST SP 800-88)",
    "nist:destroy": "the medium was destroyed (NIST SP 800-88)",
    "anonymised": "anonymised",
    "aggregated": "kept only in aggregates",
    "deidentified": "de-identified",
    "returned": "returned",
    "expired_by_retention": "expired by the retention rule",
}
LEVELS: Final = {
    "none": "not checked afterwards",
    "logical": "checked: it can no longer be read through the system",
    "physical": "checked: it is gone from the medium",
}
SYSTEM_KINDS: Final = {
    "database": "Database",
    "search": "Search index",
    "warehouse": "Data warehouse",
    "cache": "Cache",
    "log": "Logs",
    "model": "Trained model",
    "backup": "Backups",
    "processor": "Another company that processes it",
    "saas": "Hosted service",
    "paper": "Paper",
    "other": "Other",
}
ROLES: Final = {"holder": "company", "authority": "authority", "auditor": "auditor"}
CHECKS: Final = {
    "operator": "the operator of this log says so",
    "domain": "the operator found the request at the company's own domain",
}


class Told(NamedTuple):
    """A statement for people."""

    title: str
    sentence: str
    facts: list[tuple[str, Any]]  # what it says, field by field; times are `Moment`


class Moment(int):
    """Unix seconds, to be shown as a time."""


def tell(statement: Statement, called: Callable[[str], str], origin: str) -> Told:
    """Say what a statement says. Everything in it is its issuer's claim, and is told as one.

    Args:
        called: gives the name of a party by its id.
    """
    party = statement.issuer.removeprefix("https://")
    who = "The log" if party == origin else called(party)
    payload = statement.payload
    match payload:
        case Hold():
            records = _many(payload.count, "record")
            return Told(
                f"{records} held in {statement.stream}",
                f"{who} states that it holds {records} in its system {statement.stream}"
                f" ({CAUSES.get(payload.cause, payload.cause)}).",
                [("Records", payload.count), ("Cause", payload.cause), ("Row file", payload.root)],
            )
        case Tombstone():
            records = _many(payload.count, "record")
            return Told(
                f"{records} erased from {statement.stream}",
                f"{who} states that it erased {records} from its system {statement.stream}:"
                f" {METHODS.get(payload.method, payload.method)}; {LEVELS.get(payload.level, payload.level)}.",
                [
                    ("Records", payload.count),
                    ("Erased at, as stated", Moment(payload.erased_at)),
                    ("Method", payload.method),
                    ("Checked", payload.level),
                    ("Ground", payload.ground),
                    ("Row file", payload.root),
                ],
            )
        case Systems():
            names = ", ".join(each.id for each in payload.systems)
            return Told(
                f"{_many(len(payload.systems), 'system')} declared",
                f"{who} declares where it keeps personal data: {names}.",
                [(each.id, _descriptor(each)) for each in payload.systems],
            )
        case Party():
            return Told(
                f"{payload.name} admitted",
                f"The operator admits {payload.name} ({payload.id}) as {_a(ROLES[payload.role])}."
                f" How that was checked: {CHECKS.get(payload.check_method, payload.check_method)}.",
                [
                    ("Name", payload.name),
                    ("Id", payload.id),
                    ("Legal identifier", payload.legal_id),
                    ("Checked by", payload.check_method),
                    ("Checked at", Moment(payload.check_time)),
                    ("Keys", len(payload.keys)),
                ],
            )
        case Keys():
            return Told(
                "Keys changed",
                f"{who} adds {_many(len(payload.add), 'key')} and revokes {_many(len(payload.revoke), 'key')}.",
                [(f"Adds, to {key.use}", key.key) for key in payload.add]
                + [("Revokes", kid) for kid in payload.revoke],
            )
        case PartyEnd():
            about = statement.about or party
            whose = "this log" if about == origin else called(about)
            return Told(
                f"The end of {whose}",
                f"{who} ends what {whose} states here. What stands, stands; nothing more can follow.",
                [],
            )
        case Epoch():
            return Told(
                f"Seal {payload.number:,}",
                "The log seals how every system of every company stands after all statements before this one.",
                [("Number", payload.number), ("Time", Moment(payload.time)), ("Root of all systems", payload.root)],
            )
        case Policy():
            return Told(
                f"Rules {payload.name} in force",
                f"From the next statement on, the rules called {payload.name} decide what may be stated here.",
                [("Name", payload.name), ("Digest of the rules", payload.digest)],
            )
        case Log():
            limits = payload.limits
            return Told(
                "The beginning of this log",
                f"{payload.origin} names its keys and limits." + _before(payload),
                [
                    ("Key of statements", payload.statements),
                    ("Key of receipts", payload.receipts),
                    ("Key of checkpoints (Ed25519)", payload.note_ed25519),
                    ("Longest silence, seconds", limits.silence),
                    ("Records in one statement, at most", limits.rows),
                ],
            )
        case _:
            assert_never(payload)


def _before(log: Log) -> str:
    if log.predecessor is None:
        return ""
    return f" It continues {log.predecessor.origin}, which ended with {_many(log.predecessor.size, 'entry')}."


def _descriptor(each: Any) -> str:
    said = [SYSTEM_KINDS.get(each.kind, each.kind).lower(), "found by " + ", ".join(each.locators)]
    said.append(f"kept: {each.retention}" if each.retention else "no retention rule stated")
    if each.backup_cycle is not None:
        said.append(f"backups gone after {_many(-(-each.backup_cycle // 86_400), 'day')}")
    if each.processor_log is not None:
        said.append(f"its own log: {each.processor_log}")
    if each.retired:
        said.append("retired")
    return "; ".join(said)


def _many(count: int, what: str) -> str:
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what[:-1]}ies" if what.endswith("y") and what != "key" else f"{count:,} {what}s"


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
