"""The holder's SDK: commit what is held, sign what is erased, prove both.

Everything that changes something goes the same way, so that a crash at any point loses nothing: rows and claims are
written to the vault, a statement is signed and written, sent, proven to be in the log, and only then carried out.
`Holder.send` takes up whatever was left behind; sending the same bytes twice is one entry.

Spec: docs/guides/holder.md.
"""

import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import httpx
from sqlalchemy.exc import DatabaseError

from attest.crypto import commitment, keys, vrf
from attest.crypto.keys import SigningKey
from attest.encoding import Hash, decode_cbor, encode_base64url, encode_cbor, parse_base64url, parse_hex
from attest.errors import AttestError, Conflict, Malformed, Refuted, Unavailable, Untrusted
from attest.formats.bundle import Bundle
from attest.formats.checkpoint import Checkpoint
from attest.formats.join import JoinRequest
from attest.formats.keepsake import Keepsake, KeptHold
from attest.formats.rows import RowFile
from attest.formats.state import vrf_key_digest
from attest.formats.statement import (
    CAUSES,
    KINDS,
    METHODS,
    RECOVERY,
    Descriptor,
    Hold,
    Keys,
    NewKey,
    PartyEnd,
    Statement,
    Systems,
    Tombstone,
    VrfSeries,
    is_system_id,
    issuer_of,
    possession_message,
    sign_statement,
)
from attest.formats.tlog_proof import TlogProof
from attest.holder.home import Home, Settings
from attest.holder.indexing import BATCH, Indexer
from attest.holder.sources import Located, Reject, Source, Template, fits, locate
from attest.holder.staging import Staging
from attest.holder.vault import (
    ERASED,
    HELD,
    MAX_ROWS,
    OPEN,
    PENDING,
    REFUSED,
    SIGNED,
    Commitment,
    Counts,
    NewCommitment,
    Outgoing,
    Vault,
    sqlite_url,
)
from attest.ledger.verify import Question, Verdict, verify
from attest.prover import Subject, certificate_bundle, hold_bundle, lookup_bundle
from attest.transport import Answer, LogClient

SMALL_BATCH: Final = 10  # rows: below this, the moment of a statement can give a person away
EQUAL_BATCH: Final = (
    1_000  # rows: below this, two systems that change by the same number tell that they belong together
)
EQUAL_WITHIN_S: Final = 86_400
_RESIGNED: Final = frozenset({"rule/seq", "rule/key", "rule/key-interval"})
_TRIES: Final = 3
_POLL_S: Final = 0.5
_SHOWN: Final = 5  # rejects in a message

Progress = Callable[[str, int, int | None], None]
"""(what is being done, how many so far, of how many or None)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement that is now proven to be in the log."""

    kind: str
    stream: str
    count: int
    position: int
    entry_id: str


@dataclass(slots=True)
class Report:
    """What a run did."""

    read: int = 0  # usable records
    new: int = 0
    changed: int = 0
    reheld: int = 0  # erased before, held again
    unchanged: int = 0
    waiting: int = 0  # prepared by an earlier run and not yet due
    erased: int = 0  # tombstones prepared
    already: int = 0  # erased before
    rejected: int = 0
    checked: int | None = None  # records read to see whether anything is still there
    release_at: int | None = None  # when what was prepared is due, if not now
    sent: list[Sent] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """A key of ours: whether its private half is here, and where the log has it in force."""

    kid: Hash
    use: str  # sign or recover
    here: bool
    in_use: bool
    since: int | None  # position; None: the log does not know it
    until: int | None  # position; None: it has no end


@dataclass(frozen=True, slots=True)
class Status:
    """How vault and log stand."""

    systems: dict[str, tuple[Descriptor, Counts]]
    waiting: list[Outgoing]  # open or signed
    refused: list[Outgoing]
    admitted: bool | None  # None: the log was not asked


class _CheckpointMemory:
    """Keeps the newest believed checkpoint in the vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def read(self) -> Checkpoint | None:
        found = self._vault.get("checkpoint")
        return None if found is None else Checkpoint.parse(found.decode())

    def write(self, checkpoint: Checkpoint) -> None:
        self._vault.put("checkpoint", checkpoint.encode().encode())


class Holder:
    """A holder at work. Use it as a context manager: it keeps other processes out of its vault meanwhile."""

    def __init__(
        self,
        home: Home,
        *,
        passphrase: bytes | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        patience_s: float = 120.0,
        workers: int | None = None,
        progress: Progress = lambda *_: None,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; `with Holder(…) as holder:` opens.

        Args:
            patience_s: how long to wait for the log, for one request or one publication.
            workers: processes for VRF work; None for one per core. A program that leaves this open guards its main
                module with `if __name__ == "__main__"`, because workers import it.
            on_wait: is told when the log does not answer, and is asked again.
        """
        self.home = home
        self.id = home.settings.id
        self._issuer = issuer_of(self.id)
        self._passphrase = passphrase
        self._transport = transport
        self._clock = clock
        self._sleep = sleep
        self._random = randomness
        self._patience_s = patience_s
        self._workers = workers
        self._progress = progress
        self._on_wait = on_wait
        self._open = contextlib.ExitStack()
        self._warnings: list[str] = []

    @classmethod
    def init(
        cls, path: Path, settings: Settings, policy: bytes, *, passphrase: bytes | None = None, **options: Any
    ) -> Self:
        """Make a holder's directory with fresh keys, and its vault. Raises as `Home.create`."""
        home = Home.create(path, settings, policy, passphrase)
        holder = cls(home, passphrase=passphrase, **options)
        with holder:
            pass
        return holder

    @classmethod
    def at(cls, path: Path, **options: Any) -> Self:
        """Take the holder of an initialised directory. Raises as `Home.load`."""
        return cls(Home.load(path), **options)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.home.locked())
            self.vault = Vault.open(self.home.vault_url)
            stack.callback(self.vault.close)
            secret = self.home.vrf_secret(self._passphrase)
            self._indexer = stack.enter_context(Indexer(secret, workers=self._workers))
            self.vrf_key: bytes = self._indexer.prover.public_key
            self._check_identity(self.vault)
            self.log = stack.enter_context(
                LogClient(
                    self.home.settings.url,
                    self.home.policy,
                    origin=self.home.settings.origin,
                    memory=_CheckpointMemory(self.vault),
                    transport=self._transport,
                    patience_s=self._patience_s,
                    sleep=self._sleep,
                    on_wait=self._on_wait,
                )
            )
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _identity(self) -> bytes:
        settings = self.home.settings
        return encode_cbor({"origin": settings.origin, "holder": settings.id, "vrf": self._vrf_digest()})

    def _vrf_digest(self) -> Hash:
        return vrf_key_digest(vrf.SUITE, self.vrf_key)

    def _check_identity(self, vault: Vault) -> None:
        found = vault.get("identity")
        if found is None:
            vault.put("identity", self._identity())
        elif found != self._identity():
            other = decode_cbor(found)
            raise Conflict(
                "vault/other",
                f"this vault belongs to {other['holder']} at {other['origin']}, or to another VRF key",
            )

    # --- joining ---

    def join_request(self) -> JoinRequest:
        """Ask to be admitted, with a proof of possession by each key."""
        settings = self.home.settings
        own = [(use, key) for use in ("sign", "recover") for key in self.home.keys(use, self._passphrase)]
        unproven = JoinRequest(
            origin=settings.origin,
            id=settings.id,
            role="holder",
            name=settings.name,
            legal_id=settings.legal_id,
            keys=tuple(NewKey(key.public, use, bytes(64)) for use, key in own),
            vrf=(VrfSeries(vrf.SUITE, self._vrf_digest()),),
        )
        message = unproven.possession()
        request = replace(unproven, keys=tuple(NewKey(key.public, use, key.sign(message)) for use, key in own))
        request.verify(settings.origin)
        return request

    # --- systems ---

    def add_systems(self, descriptors: Sequence[Descriptor]) -> Report:
        """Register systems, or change what may change. What is registered so already is left alone.

        Raises `Conflict`: `systems/retired`, `rule/system-fixed`, `rule/backup-cycle`, before anything is signed;
        and as `send`.
        """
        self._ready()
        known = self.vault.systems()
        for each in descriptors:
            old = known.get(each.id)
            # The log would refuse it, and what it refuses stands in the way of all later statements.
            if old is not None and old != each:
                _check_change(old, each)
        new = sorted((each for each in descriptors if known.get(each.id) != each), key=lambda each: each.id)
        if new:
            payload = Systems.parse(Systems(tuple(new)).fields())
            self.vault.add_statement(self._issuer, payload.KIND, payload.fields(), 0)
        return self._sent(Report())

    def retire_system(self, system: str) -> Report:
        """Retire a system for good. Raises `Conflict`: `vault/system`, `systems/still-held`."""
        descriptor = self._descriptor(system)
        if held := self.vault.counts(system).held:
            raise Conflict("systems/still-held", f"{system} still holds {held}; erase them first")
        return self.add_systems([replace(descriptor, retired=True)])

    def systems(self) -> dict[str, Descriptor]:
        """Return the registered systems."""
        return self.vault.systems()

    def _descriptor(self, system: str) -> Descriptor:
        found = self.vault.systems().get(system) if is_system_id(system) else None
        if found is None:
            raise Conflict("vault/system", f"{system} is not registered", hint="attest holder systems add")
        return found

    # --- holding ---

    def hold(
        self,
        system: str,
        source: Source,
        template: Template,
        *,
        group: bool = False,
        cause: str = "collected",
        reject: Callable[[Reject], None] | None = None,
        window_s: int | None = None,
        dry_run: bool = False,
    ) -> Report:
        """Commit what a source holds: what is new or changed since the last run, and nothing else.

        Args:
            group: one holding for all records with one locator; otherwise all but the first are rejected.
            reject: takes what cannot be used. None: a source with any such record is refused as a whole.
            window_s: do not send before the next multiple of this many seconds since 1970.
            dry_run: prepare, sign and send nothing; only count.

        Raises:
            Malformed: `source/rejects`, `template/…`, `hold/cause`, `hold/locator-type`.
            Conflict: `vault/behind`, `vault/system`, `systems/retired`; Refuted, Untrusted, Unavailable: as `send`.
        """
        if cause not in CAUSES:
            raise Malformed("hold/cause", f"want one of {', '.join(CAUSES)}")
        descriptor = self._descriptor(system)
        if descriptor.retired:
            raise Conflict("systems/retired", f"{system} is retired")
        if template.type not in descriptor.locators:
            raise Malformed("hold/locator-type", f"{system} is indexed by {', '.join(descriptor.locators)}")
        if not dry_run:
            self._ready()
        report = Report()
        with Staging(self.home.path) as staging:
            rejects = _Rejects(report, reject)
            self._stage(staging, system, locate(source, template), rejects, report, remember=not dry_run)
            if not group:
                for line in staging.repeated():
                    rejects(Reject(line, "duplicate-locator"))
            rejects.refuse_unless_wanted()
            release_at = self._release_at(window_s)
            self._plan_holds(
                staging, system, {"cause": cause}, release_at, rejects, report, group=group, dry_run=dry_run
            )
        return self._finish(report, release_at, report.new + report.changed + report.reheld, dry_run=dry_run)

    def _plan_holds(
        self,
        staging: Staging,
        system: str,
        claims: dict[str, Any],
        release_at: int,
        rejects: "_Rejects",
        report: Report,
        *,
        group: bool,
        dry_run: bool,
    ) -> None:
        total, done, unsent = staging.distinct(), 0, 0
        for part in staging.groups(BATCH):
            live = self.vault.live(system, [index for index, *_ in part])
            planned: list[tuple[Hash, list[Hash], int, int]] = []
            drop: list[int] = []
            for index, lines, records, _ in part:
                used = sorted(set(records)) if group else records[:1]
                plan = _plan_hold(live.get(index, ()), b"".join(used), report)
                if plan is None:
                    rejects(Reject(lines[0], "pending-tombstone"))
                    continue
                drop += plan.drop
                if plan.version:
                    planned.append((index, used, plan.generation, plan.version))
            if not dry_run and (planned or drop):
                self.vault.stage_holds(system, claims, release_at, self._commit(planned), drop)
                unsent += len(planned)
            done += len(part)
            self._progress("committing", done, total)
            if unsent >= MAX_ROWS and release_at == 0:
                self._sent(report, full_only=True)
                unsent %= MAX_ROWS

    def _commit(self, planned: Sequence[tuple[Hash, list[Hash], int, int]]) -> list[NewCommitment]:
        salts = [self._random(commitment.SALT_SIZE) for _ in planned]
        made = commitment.commitments(
            [index for index, *_ in planned],
            [commitment.blind(salt) for salt in salts],
            [commitment.record_digest(records) for _, records, _, _ in planned],
        )
        return [
            NewCommitment(index, made_of, generation, version, salt, b"".join(records))
            for (index, records, generation, version), made_of, salt in zip(planned, made, salts, strict=True)
        ]

    # --- erasing ---

    def erase(
        self,
        system: str,
        located: Iterable[Located | Reject],
        *,
        method: str,
        ground: str,
        erased_at: int,
        check: tuple[Source, Template] | None = None,
        reject: Callable[[Reject], None] | None = None,
        window_s: int | None = None,
        dry_run: bool = False,
    ) -> Report:
        """Sign that everything under these locators is erased from a system. This deletes no data itself.

        Args:
            located: `locate(source, template)`, or what `LocatorList.located` and `listed` give.
            check: the system as it is now: read again, and nothing is signed while any of the locators is in it. Only
                then the statement claims level `logical`, otherwise `none`.

        Raises:
            Malformed: `source/rejects`, `erase/method`, `erase/time`, `statement/field`, `erase/check-unreadable`.
            Conflict: `erase/still-present`, `vault/behind`, `vault/system`; and as `send`.
        """
        if method not in METHODS:
            raise Malformed("erase/method", f"want one of {', '.join(METHODS)}")
        if not 0 <= erased_at <= self._now():
            raise Malformed("erase/time", "erased_at lies in the future: erase first, then sign")
        level = "none" if check is None else "logical"
        claims = {"erased_at": erased_at, "method": method, "level": level, "ground": ground}
        Tombstone.parse({"count": 1, "root": bytes(32), **claims})
        self._descriptor(system)
        if not dry_run:
            self._ready()
        report = Report()
        with Staging(self.home.path) as staging:
            rejects = _Rejects(report, reject)
            types: set[str] = set()
            self._stage(staging, system, _noting_types(located, types), rejects, report, remember=False)
            if check is not None:
                report.checked = self._check_absent(staging, types, *check)
            release_at = self._release_at(window_s)
            self._plan_tombstones(staging, system, claims, release_at, rejects, report, dry_run=dry_run)
        return self._finish(report, release_at, report.erased, dry_run=dry_run)

    def _check_absent(self, staging: Staging, types: set[str], source: Source, template: Template) -> int:
        """Read a system again; refuse while a locator to be erased is in it, or might be. Return how many it has."""
        if types - {template.type}:
            raise Malformed(
                "erase/check-type",
                f"the check reads locators of type {template.type}, to be erased are some of type"
                f" {', '.join(sorted(types - {template.type}))}: it would never find them",
                hint="check with --check-locator of that type, one type in each run",
            )
        fits(source, template)
        present: list[int] = []
        unreadable: list[int] = []
        never_seen = set(template.fields)
        number = 0
        for number, found in enumerate(source, 1):
            if isinstance(found, Reject):
                unreadable.append(found.line)
                continue
            if never_seen:
                never_seen.difference_update(found.fields)
            try:
                tag = self._indexer.tag(template.locator(found.fields))
            except Malformed:
                # A row without any locator is nobody's; one with a broken locator might be anybody's.
                if not template.is_blank(found.fields):
                    unreadable.append(found.line)
                continue
            if staging.is_wanted(tag):
                present.append(found.line)
            if not number % BATCH:
                self._progress("checking", number, None)
        if present:
            raise Conflict(
                "erase/still-present",
                f"{len(present)} records of these subjects are still in the system: lines {_lines(present)}",
                hint="erase them there, then run this again",
            )
        if unreadable:
            raise Malformed(
                "erase/check-unreadable",
                f"{len(unreadable)} records have no readable locator, so nobody can say whose they are:"
                f" lines {_lines(unreadable)}",
                hint="mend them, or sign without --check, which claims level none",
            )
        if number and never_seen:
            # A misspelt field would make every row nobody's, and the check empty.
            raise Malformed(
                "erase/check-unreadable",
                f"none of the {number} records has a field `{min(never_seen)}`, so nobody can say whose they are",
                hint="correct --check-locator",
            )
        return number

    def _plan_tombstones(
        self,
        staging: Staging,
        system: str,
        claims: dict[str, Any],
        release_at: int,
        rejects: "_Rejects",
        report: Report,
        *,
        dry_run: bool,
    ) -> None:
        parts = []
        for part in staging.groups(BATCH):
            live = self.vault.live(system, [index for index, *_ in part])
            ids, tags = [], []
            for index, lines, _, tag in part:
                found = {each.status: each for each in live.get(index, ())}
                held = found.get(HELD)
                if PENDING in found:
                    rejects(Reject(lines[0], "pending-hold"))
                elif held is not None and held.tombstone is not None:
                    report.waiting += 1
                elif held is not None:
                    ids.append(held.id)
                    tags.append(tag)
                elif ERASED in found:
                    report.already += 1
                else:
                    rejects(Reject(lines[0], "not-held"))
            report.erased += len(ids)
            parts.append((ids, tags))
        rejects.refuse_unless_wanted()
        if dry_run:
            return
        for ids, tags in parts:
            if ids:
                self.vault.stage_tombstones(system, claims, release_at, ids, tags)

    # --- from records to indexes ---

    def _stage(
        self,
        staging: Staging,
        system: str,
        located: Iterable[Located | Reject],
        rejects: "_Rejects",
        report: Report,
        *,
        remember: bool,
    ) -> None:
        # One batch is evaluated in the background while the one before it is staged.
        ahead: _Batch | None = None
        for part in _batches(located, rejects):
            batch = self._begin(part)
            if ahead is not None:
                self._stage_batch(staging, system, ahead, report, remember=remember)
                # A locator of both batches was unknown twice.
                batch.unknown -= ahead.unknown
            ahead = batch
        if ahead is not None:
            self._stage_batch(staging, system, ahead, report, remember=remember)

    def _begin(self, part: Sequence[Located]) -> "_Batch":
        tags = [self._indexer.tag(locator) for _, locator, _ in part]
        known = self.vault.betas(tags)
        missing = {tag: locator for tag, (_, locator, _) in zip(tags, part, strict=True) if tag not in known}
        return _Batch(part, tags, known, list(missing), set(missing), self._indexer.start(list(missing.values())))

    def _stage_batch(self, staging: Staging, system: str, batch: "_Batch", report: Report, *, remember: bool) -> None:
        fresh = dict(zip(batch.missing, batch.evaluate(), strict=True))
        if remember:
            self.vault.remember({tag: fresh[tag] for tag in batch.unknown})
        betas = {**batch.known, **fresh}
        indexes = commitment.indexes(self.id, system, [betas[tag] for tag in batch.tags])
        staging.add(
            (index, line, record, tag)
            for index, (line, _, record), tag in zip(indexes, batch.part, batch.tags, strict=True)
        )
        if not remember:
            staging.want(batch.tags)
        report.read += len(batch.part)
        self._progress("indexing", report.read, None)

    # --- sending ---

    def send(self) -> Report:
        """Send what is due, and take up what was interrupted.

        Raises:
            Conflict: `vault/behind`, the log has statements of ours that this vault does not know; what the log's rules
                say (`rule/…`).
            Unavailable: `log/unreachable`, `log/slow`, `log/quorum`, `holder/not-admitted`.
            Refuted: the log contradicts itself (`consistency/…`, `inclusion/…`, `log/forgot`).
            Untrusted: its checkpoint is not signed as the pinned policy wants (`checkpoint/…`).
        """
        self._ready()
        return self._sent(Report())

    def withdraw(self, number: int) -> None:
        """Give up a statement that is not sent yet. A hold's salts are destroyed.

        Raises:
            Conflict: `vault/statement`, there is no such statement, or it may be in the log already.
        """
        found = next((each for each in self.vault.statements(OPEN, SIGNED) if each.id == number), None)
        if found is None:
            raise Conflict("vault/statement", f"no statement {number} waits to be sent")
        if found.leaf is not None and self.log.became(found.leaf).state not in ("unknown", "refused"):
            raise Conflict("vault/statement", f"statement {number} is with the log already")
        self.vault.refuse(number, "withdrawn")

    def _ready(self, stream: str | None = None) -> None:
        """Settle what was signed before, then compare vault and log.

        Args:
            stream: for what the recovery key says only its own stream matters: whoever has stolen the signing key can
                fill the others, and must not get in the way.
        """
        alone = stream == self._issuer + RECOVERY
        for statement in self.vault.statements(SIGNED):
            if not alone or statement.stream == stream:
                self._settle(statement)
        self._check_not_behind(stream if alone else None)

    def _sent(self, report: Report, *, full_only: bool = False) -> Report:
        """Send all due statements, or only those that can take no more rows."""
        due = [each for each in self.vault.statements(SIGNED, OPEN) if each.release_at <= self._now()]
        if full_only:
            due = [each for each in due if each.count >= MAX_ROWS]
        for done, statement in enumerate(due):
            self._progress("publishing", done, len(due))
            if statement.kind in ("hold/1", "tombstone/1") and not statement.count:
                self.vault.refuse(statement.id, "withdrawn")
                continue
            report.sent.append(self._settle(statement))
        if due:
            self._progress("publishing", len(due), len(due))
        report.warnings += self._warnings
        self._warnings = []
        return report

    def _finish(self, report: Report, release_at: int, prepared: int, *, dry_run: bool) -> Report:
        if dry_run:
            if 0 < prepared < SMALL_BATCH:
                report.warnings.append(_small(prepared))
            return report
        if release_at and prepared:
            report.release_at = release_at
        return self._sent(report)

    def _release_at(self, window_s: int | None) -> int:
        if window_s is None:
            return 0
        if window_s < 1:
            raise Malformed("window/length", "a window is at least one second long")
        return (self._now() // window_s + 1) * window_s

    def _settle(self, statement: Outgoing) -> Sent:
        """Bring one statement into the log: sign it if need be, send it, see the proof, carry it out."""
        for left in reversed(range(_TRIES)):
            if statement.status == OPEN:
                statement = self._sign(statement)
            try:
                answer = self._deliver(statement)
            except AttestError as error:
                # Only hearsay: nothing is given up for it.
                if error.code not in _RESIGNED or not left:
                    if error.code.startswith("rule/") and error.hint is None:
                        error.hint = f"it is tried again on the next run; to give it up: withdraw {statement.id}"
                    raise
            else:
                if answer.state == "published":
                    return self._carry_out(statement)
                problem = answer.error or Conflict("log/refused", "the log refused this statement")
                if problem.code not in _RESIGNED or not left:
                    self.vault.refuse(statement.id, problem.code)
                    raise problem
            self._check_not_behind(statement.stream if statement.stream.endswith(RECOVERY) else None)
            self.vault.reopen(statement.id)
            statement = self.vault.statement(statement.id)
        raise AssertionError("the last try returns or raises")

    def _sign(self, statement: Outgoing) -> Outgoing:
        claims = dict(statement.claims)
        if statement.kind in ("hold/1", "tombstone/1"):
            rows = RowFile.build(self.vault.rows(statement))
            claims |= {"count": len(rows), "root": rows.root()}
            self._warn(statement, len(rows))
        use = "recover" if statement.stream.endswith(RECOVERY) else "sign"
        signed = sign_statement(
            self._key(use),
            KINDS[statement.kind].parse(claims),
            issuer=self._issuer,
            stream=statement.stream,
            audience=self.home.settings.origin,
            issued_at=self._now(),
            seq=self.vault.published().get(statement.stream, 0),
        )
        self.vault.sign(statement.id, seq=signed.seq, entry=signed.entry, leaf=signed.leaf)
        return self.vault.statement(statement.id)

    def _warn(self, statement: Outgoing, count: int) -> None:
        if count < SMALL_BATCH:
            self._warnings.append(_small(count))
        since = self._now() - EQUAL_WITHIN_S
        for other in reversed(self.vault.statements()):
            if (
                count < EQUAL_BATCH
                and other.entry is not None
                and (other.kind, other.count) == (statement.kind, count)
                and other.stream != statement.stream
                and Statement.parse(other.entry).issued_at >= since
            ):
                self._warnings.append(
                    f"equal-batch: {counted(count, 'row')}, as many as in {other.stream} within a day: they look like"
                    " the same people; use different windows"
                )
                return

    def _deliver(self, statement: Outgoing) -> Answer:
        """Send a signed statement and its row file until the log has settled it."""
        if statement.entry is None:
            raise ValueError("only signed statements are sent")
        signed = Statement.parse(statement.entry)
        deadline = self._clock() + self._patience_s
        answer = self.log.submit(signed)
        while answer.state not in ("published", "refused"):
            if answer.promise is not None:
                self.vault.promise(statement.id, answer.promise.encoded)
            if answer.state == "rows" and isinstance(signed.payload, Hold | Tombstone):
                rows = RowFile.build(self.vault.rows(statement))
                answer = self.log.put_rows(signed.payload.root, rows.encoded, signed.leaf)
                if answer.state != "rows":
                    continue
            if self._clock() > deadline:
                raise Unavailable(
                    "log/slow",
                    "the log has accepted the statement and not published it yet",
                    hint="nothing is lost: `attest holder send` takes it up again",
                )
            self._sleep(_POLL_S)
            answer = self.log.became(signed.leaf)
            if answer.state == "unknown":
                answer = self.log.submit(signed)
        return answer

    def _carry_out(self, statement: Outgoing) -> Sent:
        if statement.leaf is None:
            raise ValueError("only signed statements are published")
        position = self._prove(statement.leaf).index
        self.vault.publish(statement.id, position)
        return Sent(statement.kind, statement.stream, statement.count, position, encode_base64url(statement.leaf))

    def _prove(self, leaf: Hash) -> TlogProof:
        deadline = self._clock() + self._patience_s
        while True:
            try:
                return self.log.prove(leaf)
            except Unavailable as error:
                # Published, but witnesses take their time.
                if error.code != "log/quorum" or self._clock() > deadline:
                    raise
            self._sleep(_POLL_S)

    def _check_not_behind(self, only: str | None = None) -> None:
        """Compare the log's counters with the vault's, of all streams or of one."""
        view = self.log.holder(self.id)
        if view is None:
            raise Unavailable(
                "holder/not-admitted",
                f"{self.id} is not admitted to this log",
                hint="send the file of `attest holder join`",
            )
        theirs = {self._issuer: view["own"], self._issuer + RECOVERY: view["recovery"]}
        theirs |= {system["id"]: system["entries"] for system in view["systems"]}
        ours = self.vault.published()
        for stream in sorted(theirs.keys() | ours.keys()) if only is None else [only]:
            there, here = theirs.get(stream, 0), ours.get(stream, 0)
            if there > here:
                raise Conflict(
                    "vault/behind",
                    f"the log has {there} statements in stream {stream}, this vault knows {here}",
                    hint="this vault is older than the log. Restore the newest backup, or run `attest holder catch-up`",
                )
            if there < here:
                raise Refuted(
                    "log/forgot",
                    f"the log has proven {here} statements in stream {stream} and now shows {there}",
                    hint="it was rolled back, or this is another log at the same address; the vault is evidence",
                )

    def _now(self) -> int:
        return int(self._clock())

    # --- keys ---

    def _key(self, use: str) -> SigningKey:
        """Return the key in use. Without a vault that knows, it is the newest of ours that the log has in force."""
        own = {keys.thumbprint(key.public): key for key in self.home.keys(use, self._passphrase)}
        if not own:
            hint = "attest holder keys add --recovery" if use == "sign" else "put a recovery key back where it was"
            raise Unavailable("key/missing", f"no key to {use} with in {self.home.path / 'keys'}", hint=hint)
        name = f"{use}-key"
        current = self.vault.get(name)
        if current is None or current not in own:
            view = self.log.holder(self.id) if len(own) > 1 else None
            known = [] if view is None else [key for key in view["keys"] if key["until"] is None]
            newest = [parse_hex(key["kid"], 32) for key in sorted(known, key=lambda key: -key["from"])]
            current = next((kid for kid in newest if kid in own), next(iter(own)))
            self.vault.put(name, current)
        return own[current]

    def own_keys(self) -> list[tuple[Hash, str, bool]]:
        """List our keys as (kid, use, whether it is the one in use)."""
        return [
            (keys.thumbprint(key.public), use, key == self._key(use))
            for use in ("sign", "recover")
            for key in self.home.keys(use, self._passphrase)
        ]

    def all_keys(self) -> list[KeyStanding]:
        """List our keys and those that the log says we have: in the order of their admission, then what it lacks."""
        own = {kid: (use, in_use) for kid, use, in_use in self.own_keys()}
        view = self.log.holder(self.id)
        found = []
        for key in [] if view is None else view["keys"]:
            kid = parse_hex(key["kid"], 32)
            here = own.pop(kid, None)
            in_use = here is not None and here[1] and key["until"] is None
            found.append(KeyStanding(kid, key["use"], here is not None, in_use, key["from"], key["until"]))
        return found + [KeyStanding(kid, use, True, False, None, None) for kid, (use, _) in own.items()]

    def add_key(
        self, use: str = "sign", *, revoke: Collection[Hash] = (), by_recovery: bool = False
    ) -> tuple[Hash, Report]:
        """Make a new key, have the log admit it, and use it from then on; return its kid.

        Args:
            revoke: keys of ours that end with the same statement.
            by_recovery: the recovery key signs; a recovery key is always added so.

        Raises `Conflict`: `keys/not-in-force`; and as `send`.
        """
        if use not in ("sign", "recover"):
            raise Malformed("keys/use", "want sign or recover")
        stream = self._issuer + RECOVERY if by_recovery or use == "recover" else self._issuer
        self._ready(stream)
        self._check_in_force(revoke)
        self._key("recover" if stream.endswith(RECOVERY) else "sign")  # before there is a fresh one
        fresh = SigningKey.generate()
        self.home.add_key(use, fresh, self._passphrase)
        unproven = Keys((NewKey(fresh.public, use, bytes(64)),), tuple(sorted(revoke)))
        message = possession_message(self.home.settings.origin, self.id, unproven)
        payload = replace(unproven, add=(NewKey(fresh.public, use, fresh.sign(message)),))
        report = self._say(stream, payload)
        self._forget_keys(revoke)
        kid = keys.thumbprint(fresh.public)
        self.vault.put(f"{use}-key", kid)
        return kid, report

    def revoke_key(self, kid: Hash, *, by_recovery: bool = False) -> Report:
        """Revoke a key of ours, by the signing key in use, or by a recovery key.

        Raises `Conflict`: `keys/in-use`, `keys/not-in-force`; and as `send`.
        """
        stream = self._issuer + RECOVERY if by_recovery else self._issuer
        self._ready(stream)
        if not by_recovery and kid == keys.thumbprint(self._key("sign").public):
            raise Conflict("keys/in-use", "this is the key in use: add another first, or revoke with --recovery")
        self._check_in_force([kid])
        report = self._say(stream, Keys((), (kid,)))
        self._forget_keys([kid])
        return report

    def end(self) -> Report:
        """End this party for ever, by its recovery key: what it holds stands in the log, frozen. Raises as `send`."""
        stream = self._issuer + RECOVERY
        self._ready(stream)
        return self._say(stream, PartyEnd())

    def _say(self, stream: str, payload: Keys | PartyEnd) -> Report:
        """Publish a statement about ourselves; by the recovery key nothing else, whatever waits."""
        number = self.vault.add_statement(stream, payload.KIND, payload.fields(), 0)
        if stream == self._issuer:
            return self._sent(Report())
        report = Report(sent=[self._settle(self.vault.statement(number))])
        report.warnings, self._warnings = self._warnings, []
        return report

    def _check_in_force(self, kids: Iterable[Hash]) -> None:
        known = (self.log.holder(self.id) or {}).get("keys", [])
        in_force = {key["kid"] for key in known if key["until"] is None}
        if any(kid.hex() not in in_force for kid in kids):
            raise Conflict("keys/not-in-force", "the log says that no such key of yours is in force")

    def _forget_keys(self, kids: Collection[Hash]) -> None:
        """Choose anew which key to use, where it was one of these."""
        for name in ("sign-key", "recover-key"):
            if self.vault.get(name) in kids:
                self.vault.put(name, b"")

    # --- showing and proving ---

    def status(self, *, online: bool = True) -> Status:
        """Say how the vault stands, and whether the log agrees. Raises as `send` if it does not."""
        admitted = None
        if online:
            admitted = self.log.holder(self.id) is not None
            if admitted and not self.vault.statements(SIGNED):
                self._check_not_behind()
        return Status(
            systems={name: (each, self.vault.counts(name)) for name, each in self.vault.systems().items()},
            waiting=self.vault.statements(OPEN, SIGNED),
            refused=self.vault.statements(REFUSED),
            admitted=admitted,
        )

    def subject(self, locator: str) -> Subject:
        """Prove where a canonical locator is looked for."""
        return Subject.of(self._indexer.prover, locator)

    def indexes(self, system: str, locators: Sequence[str]) -> list[Hash]:
        """Return the index of each canonical locator in a system."""
        return commitment.indexes(self.id, system, self._indexer.betas(locators))

    def lookup(self, locators: Sequence[str]) -> tuple[Bundle, Verdict]:
        """Fetch what all systems say about these locators; what it proves is in the verdict."""
        bundle = lookup_bundle(self.log, self.id, self.vrf_key, [self.subject(each) for each in locators])
        return bundle, self._checked(bundle, locators)

    def certificate(self, locators: Sequence[str]) -> tuple[Bundle, Verdict]:
        """Fetch a deletion certificate. Raises `Conflict`: `certificate/refused`, they are not excluded."""
        subjects = [self.subject(each) for each in locators]
        bundle = certificate_bundle(self.log, self.id, self.vrf_key, subjects, self._known_hold)
        verdict = self._checked(bundle, locators)
        if verdict.outcome == "refuted":
            raise Conflict("certificate/refused", f"no certificate: {verdict.reason}", hint=verdict.hint)
        return bundle, verdict

    def _known_hold(self, subject: Subject, system: str, wanted: Hash) -> str | None:
        if system not in self.vault.systems():
            return None
        index = subject.index(self.id, system)
        for found in self.vault.live(system, [index]).get(index, ()):
            if found.commitment == wanted and (leaf := self.vault.statement(found.hold).leaf) is not None:
                return encode_base64url(leaf)
        return None

    def _checked(self, bundle: Bundle, locators: Sequence[str]) -> Verdict:
        """Verify as anybody would. What fails before the claim is judged is the log's fault, and never written out."""
        question = Question(self.home.policy, self._now(), self.id, tuple(locators))
        verdict = verify(bundle.encode(), question)
        if verdict.outcome != "holds" and not verdict.code.startswith(("claim/", "freshness/", "level/")):
            kind = Untrusted if verdict.outcome == "not-anchored" else Refuted
            raise kind(verdict.code, f"the log's evidence does not verify: {verdict.reason}", hint=verdict.hint)
        return verdict

    def keepsake(self, locator: str) -> Keepsake:
        """Make what the data subject keeps: the look-up part, and the opening of every published hold.

        Raises:
            Unavailable: `keepsake/nothing-held`, there is no published hold to show, or none that can be opened.
            Refuted, Untrusted: the log's evidence does not verify.
        """
        subject = self.subject(locator)
        holds = []
        for system in self.vault.systems():
            index = subject.index(self.id, system)
            for found in self.vault.live(system, [index]).get(index, ()):
                if found.status == HELD and found.opens:
                    holds.append(self._kept(subject, system, found))
        if not holds:
            raise Unavailable(
                "keepsake/nothing-held",
                "nothing is held under this locator that this vault can open",
                hint="keepsakes are made after a hold is published and before its tombstone",
            )
        return Keepsake(
            self.home.settings.origin, self.id, locator, vrf.SUITE, self.vrf_key, subject.proof, tuple(holds)
        )

    def _kept(self, subject: Subject, system: str, found: Commitment) -> KeptHold:
        hold = self.vault.statement(found.hold)
        if hold.leaf is None or hold.position is None:
            raise ValueError("a held commitment has a published hold")
        entry_id = encode_base64url(hold.leaf)
        bundle = hold_bundle(self.log, self.id, self.vrf_key, subject, system=system, entry_id=entry_id)
        verdict = self._checked(bundle, [subject.locator])
        if verdict.outcome != "holds" or bundle.rows[0].commitment != found.commitment:
            raise Refuted("keepsake/hold", f"the log shows another row in {system} than the vault has")
        records = tuple(found.records[at : at + 32] for at in range(0, len(found.records), 32))
        return KeptHold(system, hold.position, entry_id, commitment.blind(found.salt), records, bundle)

    # --- backups ---

    def backup(self, path: Path) -> None:
        """Copy the vault into one new SQLite file, mode 0600. Without keys. Raises `Conflict`: `backup/exists`."""
        if path.exists():
            raise Conflict("backup/exists", f"{path} exists")
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".backup-") as folder:
            part = Path(folder) / "vault.sqlite"
            target = Vault.open(sqlite_url(part))
            try:
                self.vault.copy_to(target)
            finally:
                target.close()
            part.rename(path)

    def restore(self, path: Path) -> None:
        """Fill this empty vault from a backup.

        Raises:
            Conflict: `vault/not-empty`, `vault/other`.
            Malformed: `backup/format`, it is no backup of a vault, or a damaged one.
            Unavailable: `backup/missing`, `vault/newer`.
        """
        if self.vault.statements() or self.vault.systems():
            raise Conflict(
                "vault/not-empty", "a vault is restored into an empty one only", hint="move the vault's file away first"
            )
        if not path.is_file():
            raise Unavailable("backup/missing", f"no file {path}")
        with tempfile.TemporaryDirectory(dir=self.home.path, prefix=".restore-") as folder:
            part = Path(folder) / "vault.sqlite"
            part.touch(mode=0o600)
            shutil.copyfile(path, part)  # a backup of an older version is brought up to date as a copy
            source = _opened_backup(part)
            try:
                self._check_identity(source)
                self.vault.clear_meta()
                source.copy_to(self.vault)
            except DatabaseError as error:
                raise Malformed("backup/format", f"{path} cannot be restored: {error.orig}") from None
            finally:
                source.close()

    def catch_up(self) -> int:
        """Take over statements of ours that the log has and this vault does not; return how many.

        For a restored or lost vault. Rows come without salts and records: they can be erased and held anew, not
        opened. Tombstones destroy what an old backup brought back.
        """
        known = {each.leaf: each for each in self.vault.statements() if each.leaf is not None}
        adopted = 0
        missing = list(self._unknown_entries(known))
        for done, (leaf, position) in enumerate(missing):
            self._progress("catching up", done, len(missing))
            statement = self.log.statement(leaf)
            if statement.issuer != self._issuer:
                continue  # the log's own words about us
            proof = self.log.prove(leaf)
            if proof.index != position:
                raise Refuted("log/answer", f"the log lists entry {proof.index} as {position}")
            if leaf in known:
                self.vault.publish(known[leaf].id, position)
            else:
                self._adopt(statement, position)
            adopted += 1
        self._check_not_behind()
        return adopted

    def _unknown_entries(self, known: dict[Hash, Outgoing]) -> Iterator[tuple[Hash, int]]:
        """Yield (leaf, position) of listed entries that are not published here, oldest first."""
        found: list[tuple[Hash, int]] = []
        before: int | None = None
        while True:
            page = self.log.entries(self.id, before=before)
            for entry in page["entries"]:
                leaf = parse_base64url(entry["entry_id"], 32)
                if leaf not in known or known[leaf].position is None:
                    found.append((leaf, entry["position"]))
            before = page["next"]
            if before is None:
                return iter(sorted(found, key=lambda pair: pair[1]))

    def _adopt(self, statement: Statement, position: int) -> None:
        payload = statement.payload
        claims = payload.fields()
        rows: dict[Hash, Hash] = {}
        if isinstance(payload, Hold | Tombstone):
            file = RowFile.parse(self.log.rows(payload.root))
            file.check(payload.count, payload.root)
            rows = dict(zip(file.indexes, file.commitments, strict=True))
            del claims["count"], claims["root"]
        self.vault.adopt(
            statement.stream,
            payload.KIND,
            claims,
            rows,
            seq=statement.seq,
            entry=statement.entry,
            leaf=statement.leaf,
            position=position,
        )


@dataclass(slots=True)
class _Batch:
    """Located records on their way to indexes."""

    part: Sequence[Located]
    tags: list[bytes]
    known: dict[bytes, bytes]  # tag → VRF output
    missing: list[bytes]  # tags, in the order of `evaluate`
    unknown: set[bytes]  # those of them that the vault has to remember
    evaluate: Callable[[], list[bytes]]


def _check_change(old: Descriptor, new: Descriptor) -> None:
    if old.retired:
        raise Conflict("systems/retired", f"{old.id} is retired")
    if (old.kind, old.locators) != (new.kind, new.locators):
        raise Conflict("rule/system-fixed", f"{old.id}: kind and locators never change; register another system")
    if old.backup_cycle is not None and (new.backup_cycle is None or new.backup_cycle > old.backup_cycle):
        raise Conflict("rule/backup-cycle", f"{old.id}: a backup cycle only shrinks")


def _opened_backup(copy: Path) -> Vault:
    """Open a copy of a backup. Raises `Malformed`: `backup/format`."""
    refused = Malformed("backup/format", "this is not a backup of a vault, or a damaged one")
    try:
        found = Vault.open(sqlite_url(copy))
    except Unavailable as error:
        if error.code == "vault/open":
            raise refused from None
        raise
    if found.get("identity") is None:
        found.close()
        raise refused
    return found


def _noting_types(located: Iterable[Located | Reject], types: set[str]) -> Iterator[Located | Reject]:
    for found in located:
        if not isinstance(found, Reject):
            types.add(found[1].partition(":")[0])
        yield found


def _batches(located: Iterable[Located | Reject], rejects: "_Rejects") -> Iterator[list[Located]]:
    part: list[Located] = []
    for found in located:
        if isinstance(found, Reject):
            rejects(found)
            continue
        part.append(found)
        if len(part) == BATCH:
            yield part
            part = []
    if part:
        yield part


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of one index: a new version if `version` is not 0; pending rows to forget."""

    generation: int = 0
    version: int = 0
    drop: tuple[int, ...] = ()


def _plan_hold(live: Sequence[Commitment], records: bytes, report: Report) -> _Plan | None:
    """Compare what a source holds with what the vault has; None while its tombstone is on the way."""
    pending = next((each for each in live if each.status == PENDING), None)
    current = next((each for each in live if each.status != PENDING), None)
    drop = () if pending is None else (pending.id,)
    if current is not None and current.status == HELD:
        if current.tombstone is not None:
            return None
        if current.records == records:
            report.unchanged += 1
            return _Plan(drop=drop)
    if pending is not None and pending.records == records:
        report.waiting += 1
        return _Plan()
    if current is None:
        report.new += 1
        return _Plan(1, 1, drop)
    if current.status == HELD:
        report.changed += 1
        return _Plan(current.generation, current.version + 1, drop)
    report.reheld += 1
    return _Plan(current.generation + 1, 1, drop)


class _Rejects:
    """Counts rejects and passes them on; without anybody to take them, they refuse the source."""

    def __init__(self, report: Report, take: Callable[[Reject], None] | None) -> None:
        self._report = report
        self._take = take
        self._first: list[Reject] = []

    def __call__(self, reject: Reject) -> None:
        self._report.rejected += 1
        if self._take is not None:
            self._take(reject)
        elif len(self._first) < _SHOWN:
            self._first.append(reject)

    def refuse_unless_wanted(self) -> None:
        """Raise `Malformed` `source/rejects` if there are rejects that nobody took."""
        if self._take is None and self._report.rejected:
            shown = "; ".join(f"line {each.line}: {each.code}" for each in self._first)
            raise Malformed(
                "source/rejects",
                f"{counted(self._report.rejected, 'record')} cannot be used, nothing was signed. {shown}",
                hint="mend the source, or go on without them: --rejects FILE",
            )


def counted(count: int, what: str) -> str:
    """Return `1 row`, `2 rows`."""
    return f"{count} {what}{'s' * (count != 1)}"


def _small(count: int) -> str:
    return (
        f"small-batch: {counted(count, 'row')} in one statement: its moment can give a person away; collect"
        " several with --window"
    )


def _lines(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:_SHOWN])) + (" …" if len(numbers) > _SHOWN else "")
