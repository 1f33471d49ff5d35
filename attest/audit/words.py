"""What a report says in words, for the terminal and the page alike."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attest.audit.findings import Report, Severity

SEVERITIES: Final[Mapping[Severity, tuple[str, str]]] = {
    "lie": ("a lie of the log", "lies of the log"),
    "contradiction": ("a contradiction of a holder", "contradictions of holders"),
    "fault": ("a fault in what was served", "faults in what was served"),
    "missing": ("a thing that was not there to be checked", "things that were not there to be checked"),
}
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def moment(seconds: int) -> str:
    """Return POSIX seconds as a UTC time that people read."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds}"


def span(seconds: int) -> str:
    """Return a length of time in its two largest units."""
    left, parts = abs(seconds), list[str]()
    for size, unit in _UNITS:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size:,} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return `3 entries`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def ages(bounds_s: Iterable[int]) -> list[str]:
    """Name the bars of a histogram."""
    names = [span(bound) for bound in bounds_s]
    return [f"up to {name}" for name in names] + [f"over {name}" for name in names[-1:]]


def subject(report: Report) -> str:
    """Say what was audited."""
    whole = f"the log {report.origin}"
    if report.party is None:
        return whole
    return f"{report.party}{f', system {report.system},' if report.system else ''} in {whole}"


def verdict(report: Report) -> str:
    """Say in one sentence what the audit has come to."""
    where = f"{subject(report)}, up to the checkpoint of {count(report.size, 'entry', 'entries')}"
    if report.outcome == "clean":
        return f"Nothing was found in {where}: everything that was checked holds together."
    found = "; ".join(
        words[0] if number == 1 else f"{number:,} {words[1]}"
        for severity, words in SEVERITIES.items()
        if (number := sum(finding.severity == severity for finding in report.findings))
    )
    if report.outcome == "found":
        rest = "" if report.complete else " What comes after could not be checked."
        return f"Found in {where}: {found}.{rest}"
    return f"Not everything could be checked in {where}: {found or 'the audit did not reach the end'}."


def command(evidence: str, report: Report) -> str:
    """Return the command by which anybody finds it again."""
    return shlex.join(("attest", "verify", evidence, "--policy", report.trust.file if report.trust else "policy"))


def system_remarks(system: Mapping[str, Any]) -> list[str]:
    """Say what is notable about one system of `facts`."""
    said = [
        (not system["retention"], "no retention rule"),
        (system["retired"], "retired"),
        (system["small_batches"], count(system["small_batches"], "small batch", "small batches")),
        (
            system["old_commitments"],
            count(system["old_commitments"], "old commitment held again", "old commitments held again"),
        ),
    ]
    return [words for applies, words in said if applies]


def summary(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts in short: what is counted, and how much."""
    systems, keys = facts.get("systems", []), facts.get("keys", [])
    quiet, silences = facts.get("quiet"), facts.get("silences")
    parties = facts.get("parties", [])
    total = {name: sum(system[name] for system in systems) for name in ("held", "erased", "reheld")}
    return [
        ("parties", f"{len(parties):,}"),
        (
            "   whose identity is the operator's word",
            f"{sum(party['checked_by'] == 'operator' for party in parties):,}",
        ),
        ("   with the legal identifier of another", f"{sum(map(len, facts.get('same_legal_id', []))):,}"),
        ("systems", f"{len(systems):,}"),
        ("   without a retention rule", f"{sum(not system['retention'] for system in systems):,}"),
        *((name, f"{number:,}") for name, number in total.items()),
        ("held again under an old commitment", f"{sum(system['old_commitments'] for system in systems):,}"),
        ("statements of few rows", f"{sum(system['small_batches'] for system in systems):,}"),
        ("erasures dated far from their epoch", f"{facts.get('far_dated_erasures', {}).get('count', 0):,}"),
        ("keys added", f"{sum(key['what'] == 'added' for key in keys):,}"),
        ("keys revoked", f"{sum(key['what'] == 'revoked' for key in keys):,}"),
        ("longest time without a statement", span(max(gap["to"] - gap["from"] for gap in quiet)) if quiet else "-"),
        ("silences longer than promised", "-" if silences is None else f"{len(silences):,}"),
    ]


def to_look_at(report: Report) -> list[str]:
    """Return what somebody has to look at with their own eyes, what no audit proves and what this one has shown."""
    facts = report.facts
    systems, parties = facts.get("systems", []), facts.get("parties", [])
    bare = sum(not system["retention"] for system in systems)
    word = sum(party["checked_by"] == "operator" for party in parties)
    small = sum(system["small_batches"] for system in systems)
    far = facts.get("far_dated_erasures", {}).get("count", 0)
    shared = "; ".join(map(", ".join, facts.get("same_legal_id", [])))
    shown = [
        (bare, f"why {count(bare, 'system declares', 'systems declare')} no retention rule"),
        (
            word,
            f"who {count(word, 'party is', 'parties are')}: the operator alone says that"
            f" {'its' if word == 1 else 'their'} identity was checked",
        ),
        (shared, f"why parties share a legal identifier: {shared}"),
        (
            far,
            f"why {count(far, 'erasure is', 'erasures are')} dated far from when {'it' if far == 1 else 'they'} came",
        ),
        (small, f"whether {count(small, 'statement of few rows points', 'statements of few rows point')} at persons"),
        (facts.get("silences"), "why the log was silent for longer than it promises"),
    ]
    return [*report.eyes, *(words for applies, words in shown if applies)]
