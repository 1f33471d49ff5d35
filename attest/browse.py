"""What people and programs look at: the log, its checkpoints, holders, systems, statements, and how they came to stand.

Every method answers at the newest published checkpoint. What ends in a dict is a JSON value of docs/spec/http.md.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from attest.crypto import keys
from attest.encoding import Hash, encode_base64, encode_base64url
from attest.errors import Conflict, Unavailable
from attest.formats.state import ACTIVE, KeyItem
from attest.formats.statement import Hold, Tombstone
from attest.merkle import tree
from attest.store import cosigned
from attest.store.blobs import Blobs
from attest.store.cosigned import Stored
from attest.store.counts import ALL, Active, Count, Counts
from attest.store.db import Database
from attest.store.log import EntryRecord, EpochRecord, LogStore, PartyRecord
from attest.store.tiles import reader
from attest.view import Policies, View
from attest.witnessing import Endpoint

PAGE: Final = 500  # the longest page of a list


@dataclass(frozen=True, slots=True)
class Timeline:
    """How systems stood at evenly spaced times."""

    times: list[int]  # ascending, the last one now; equal ones where there is no past
    counts: dict[str, list[Count | None]]  # by system: at each of those times; None: it was not touched before


@dataclass(frozen=True, slots=True)
class Entry:
    """A published entry, and what shows that it is one."""

    record: EntryRecord
    epoch: EpochRecord  # that brought it
    view: View
    path: list[Hash]  # inclusion path in the view's tree, leaf side first


class Browse:
    """Reads the published log. Its methods may be called from many threads."""

    def __init__(
        self,
        views: Callable[[], Sequence[View]],
        db: Database,
        public: Blobs,
        policies: Policies,
        endpoints: Sequence[Endpoint],
        successor: str | None,
        url: str | None,
    ) -> None:
        """See `attest.node.Node`, which makes one.

        Args:
            views: gives the last published views, oldest first.
            successor: the origin of the log that continues this one, in the operator's word.
            url: where the log is served, without a final slash, if the operator has said so.
        """
        self._views = views
        self._db = db
        self._public = public
        self._log = LogStore(db)
        self._counts = Counts(db)
        self._policies = policies
        self._endpoints = endpoints
        self._successor = successor
        self.url = url
        self._names: dict[str, PartyRecord] = {}

    @property
    def view(self) -> View:
        """The log at the newest published checkpoint."""
        return self._views()[-1]

    # --- the log ---

    def log(self) -> dict[str, Any]:
        """Return what `GET /log` shows."""
        view = self.view
        genesis = view.ledger.genesis
        before = None if genesis is None else genesis.predecessor
        return {
            "origin": view.ledger.origin,
            "size": view.size,
            "root": view.record.tree_root.hex(),
            "epoch": view.record.number,
            "time": view.record.time,
            "checkpoint": view.checkpoint,
            "held": view.held,
            "erased": view.erased,
            "reheld": view.reheld,
            "holders": len(view.listed),
            "limits": asdict(view.ledger.limits),
            "witnessed": self._newest(lambda each: each.witnessed),
            "checked": self._newest(lambda each: each.checked),
            "witnesses": self.witnesses(),
            "ended": view.end is not None,
            "end": view.end,
            "predecessor": None if before is None else {**asdict(before), "root": before.root.hex()},
            "successor": self._successor,
        }

    def _newest(self, fits: Callable[[View], bool]) -> dict[str, int] | None:
        """Tell which of the last checkpoints fits."""
        found = next((view for view in reversed(self._views()) if fits(view)), None)
        return None if found is None else {"size": found.size, "time": found.record.time}

    def witnesses(self) -> list[dict[str, Any]]:
        """Return how the log stands with each witness that its policies name."""
        known = cosigned.standings(self._db)
        found = []
        for endpoint in self._endpoints:
            standing = known.get(endpoint.url)
            found.append(
                {
                    "names": list(endpoint.names),
                    "url": endpoint.url,
                    "state": endpoint.assesses,
                    "keys": [verifier.encode() for verifier in endpoint.verifiers],
                    "size": 0 if standing is None else standing.size,
                    "problem": None if standing is None else standing.problem_code,
                    "since": None if standing is None else standing.since,
                }
            )
        return found

    def problems_of_witnesses(self) -> dict[str, str]:
        """Return what witnesses answered instead of cosigning, by URL; for the operator."""
        return {url: each.problem for url, each in cosigned.standings(self._db).items() if each.problem is not None}

    def checkpoints(self, before: int | None, limit: int) -> dict[str, Any]:
        """Return a page of checkpoints, newest first, with who has cosigned them."""
        limit = _page(limit)
        newest = self.view.size + 1
        records = self._log.epochs_below(newest if before is None else min(before, newest), limit + 1)
        shown = records[:limit]
        by_size: dict[int, list[Stored]] = {record.size: [] for record in shown}
        for each in cosigned.of_sizes(self._db, list(by_size)):
            by_size[each.size].append(each)
        return {
            "checkpoints": [
                {
                    "size": record.size,
                    "root": record.tree_root.hex(),
                    "epoch": record.number,
                    "time": record.time,
                    **dict(zip(("witnessed", "checked"), self._policies.weigh(by_size[record.size]), strict=True)),
                    "cosignatures": [
                        {"name": each.line.name, "key_id": each.line.key_id.hex(), "time": each.time}
                        for each in by_size[record.size]
                    ],
                }
                for record in shown
            ],
            "next": shown[-1].size if len(records) > limit else None,
        }

    # --- parties ---

    def holders(self, after: str | None, limit: int) -> dict[str, Any]:
        """Return a page of holders, by id."""
        view, limit = self.view, _page(limit)
        start = 0 if after is None else bisect_right(view.listed, after)
        chosen = view.listed[start : start + limit]
        more = start + limit < len(view.listed)
        return {"holders": self._summaries(view, chosen), "next": chosen[-1] if more and chosen else None}

    def holders_called(self, words: str, limit: int) -> list[dict[str, Any]]:
        """Return holders whose id, name or legal identifier has all of these words."""
        view = self.view
        found = [
            each for each in self._log.parties_with(words.split()[:8], _page(limit)) if each in view.ledger.parties
        ]
        return self._summaries(view, [each for each in found if view.ledger.parties[each].role == "holder"])

    def holders_named(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return these holders, as far as there are any of these ids."""
        view = self.view
        return self._summaries(view, [each for each in ids if each in view.ledger.parties])

    def holder(self, party: str) -> dict[str, Any]:
        """Return what is known of a party. Raises `Conflict`: `holder/unknown`."""
        view = self.view
        head = view.holder(party)
        name = self._called([party])[party]
        return {
            **self._summary(view, party, name),
            "check": {"method": name.check_method, "time": name.check_time},
            "keys": [_key(item) for item in head.keys],
            "own": head.own,
            "recovery": head.recovery,
            "vrf": [{"suite": suite, "hash": encode_base64(digest)} for suite, digest in head.vrf],
            "systems": _systems(view, party),
        }

    def systems(self, party: str) -> dict[str, Any]:
        """Return a party's systems. Raises `Conflict`: `holder/unknown`."""
        view = self.view
        view.holder(party)
        return {"systems": _systems(view, party)}

    def system(self, party: str, system: str) -> dict[str, Any]:
        """Return one system of a party. Raises `Conflict`: `holder/unknown`, `system/unknown`."""
        view = self.view
        view.holder(party)
        found = next((each for each in _systems(view, party) if each["id"] == system), None)
        if found is None:
            raise Conflict("system/unknown", f"{party} has no system {system[:64]}")
        return found

    def name_of(self, party: str) -> str:
        """Return how a party is called; its id, if the log does not say."""
        named = self._called([party]).get(party)
        return party if named is None else named.name

    def active(self, limit: int) -> list[Active]:
        """Return the parties whose systems were touched last, newest first."""
        return self._counts.active(self.view.ledger.origin, limit)

    # --- over time ---

    def history(self, party: str, system: str, before: int | None, limit: int) -> dict[str, Any]:
        """Return a page of how a system stood after the epochs that touched it, newest first.

        Args:
            before: only epochs with lower numbers.

        Raises:
            Conflict: `holder/unknown`, `system/unknown`.
        """
        self.system(party, system)
        number = self.view.record.number + 1
        rows = self._counts.page(party, system, number if before is None else min(before, number), limit + 1)
        shown = rows[:limit]
        return {
            "history": [asdict(each) for each in shown],
            "next": shown[-1].epoch if len(rows) > limit else None,
        }

    def timeline(self, party: str, systems: Sequence[str], columns: int) -> Timeline:
        """Return how systems stood at evenly spaced times, from the first change of any to now."""
        end = self.view.record.time
        first = self._counts.first(party, systems[0] if len(systems) == 1 else ALL)
        start = end if first is None else min(first.time, end)
        times = [start + (end - start) * n // max(1, columns - 1) for n in range(columns)]
        return Timeline(times, self._counts.sampled(party, systems, times))

    # --- entries ---

    def entries(self, party: str, before: int | None, limit: int) -> dict[str, Any]:
        """Return a page of what a party said and what was said about it, newest first.

        Raises:
            Conflict: `holder/unknown`.
        """
        view, limit = self.view, _page(limit)
        view.holder(party)
        return _listed(self._log.entries_of(party, _until(view, before), limit + 1), limit)

    def entries_of_all(self, before: int | None, limit: int) -> dict[str, Any]:
        """Return a page of all entries, newest first."""
        view, limit = self.view, _page(limit)
        return _listed(self._log.entries_below(_until(view, before), limit + 1), limit)

    def newest_of(self, party: str, limit: int) -> list[tuple[int, int, bytes]]:
        """Return the newest entries of a party, newest first: position, the time of its epoch, and the entry."""
        rows = self._log.entries_of(party, self.view.size, _page(limit))
        found = self._log.entries_at([row.position for row in rows])
        times = self._log.times_of({row.epoch for row in rows})
        return [(row.position, times[row.epoch], found[row.position]) for row in rows]

    def entry(self, where: int | Hash) -> Entry | None:
        """Return a published entry by its position or its leaf hash."""
        view = self.view
        if isinstance(where, int):
            record = next(iter(self._log.entries(where, where + 1)), None) if where < view.size else None
        else:
            record = self._log.find(where)
        if record is None or record.position >= view.size:
            return None
        epoch = self._log.epoch(record.epoch)
        if epoch is None:
            raise Unavailable("store/entries", f"epoch {record.epoch} is not in the database")
        path = tree.inclusion_path(record.position, view.size, reader(self._public, view.size, self.view.size))
        return Entry(record, epoch, view, path)

    def _summaries(self, view: View, ids: Sequence[str]) -> list[dict[str, Any]]:
        names = self._called(ids)
        return [self._summary(view, party, names[party]) for party in ids]

    def _called(self, ids: Iterable[str]) -> dict[str, PartyRecord]:
        # A party's names never change, so they are read once.
        missing = [party for party in ids if party not in self._names]
        if missing:
            self._names.update(self._log.parties(missing))
        return self._names

    def _summary(self, view: View, party: str, name: PartyRecord) -> dict[str, Any]:
        head = view.ledger.parties[party]
        systems = view.ledger.systems_of(party)
        return {
            "id": party,
            "name": name.name,
            "legal_id": name.legal_id,
            "role": head.role,
            "status": _status(head.status, "ended"),
            "admitted": head.admitted,
            "systems": len(systems),
            "held": sum(system.held for system in systems),
            "erased": sum(system.erased for system in systems),
            "reheld": sum(system.reheld for system in systems),
        }


def _systems(view: View, party: str) -> list[dict[str, Any]]:
    return [
        {
            "id": system.system,
            "status": _status(system.status, "retired"),
            "descriptor": view.ledger.descriptors[party, system.system].fields(),
            "held": system.held,
            "erased": system.erased,
            "reheld": system.reheld,
            "entries": system.entries,
        }
        for system in view.ledger.systems_of(party)
    ]

    # --- proofs ---


def _until(view: View, before: int | None) -> int:
    return view.size if before is None else min(before, view.size)


def _listed(rows: Sequence[Any], limit: int) -> dict[str, Any]:
    shown = rows[:limit]
    return {
        "entries": [
            {
                "position": row.position,
                "entry_id": encode_base64url(row.leaf),
                "issuer": row.issuer,
                "kind": row.kind,
                "system": row.stream if row.kind in (Hold.KIND, Tombstone.KIND) else None,
                "seq": row.seq,
                "issued_at": row.issued_at,
                "epoch": row.epoch,
                "count": row.row_count,
                "rows": None if row.rows_root is None else row.rows_root.hex(),
            }
            for row in shown
        ],
        "next": shown[-1].position if len(rows) > limit else None,
    }


def _key(item: KeyItem) -> dict[str, Any]:
    return {
        "kid": keys.thumbprint(item.key).hex(),
        "key": encode_base64(item.key),
        "use": item.use,
        "from": item.from_,
        "until": item.until,
    }


def _status(status: int, ended: str) -> str:
    return "active" if status == ACTIVE else ended


def _page(limit: int) -> int:
    return max(1, min(limit, PAGE))
