"""The vault: what the company must keep to open, change and erase what it committed. It never holds a locator.

    statements    what was or will be signed, in order: open (takes rows) → signed (sent, perhaps) → published | refused
    commitments   the current row of each (system, index), and at most one pending one
    secrets       the salt and the record digests of a commitment; destroyed by overwriting, never moved
    known         keyed tags of locators seen before, to skip VRF work; without the VRF key they say nothing

Every method that writes is one transaction. A single process writes: the directory's lock sees to that.

Spec: docs/guides/holder.md#what-the-vault-keeps.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError

from attest.encoding import Hash, decode_cbor, encode_cbor
from attest.errors import Conflict, Malformed, Unavailable
from attest.formats.statement import Descriptor

MAX_ROWS: Final = 65_536  # of one statement of ours
PENDING, HELD, ERASED = 3, 1, 2  # of a commitment; a pending one is in no published statement yet
OPEN, SIGNED, PUBLISHED, REFUSED = "open", "signed", "published", "refused"  # of a statement
MIGRATIONS: Final = Path(__file__).parent / "migrations"
HEAD: Final = "0001"  # the last step there
ZERO_SALT: Final = bytes(32)

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_CHUNK = 500  # values in one IN list
_metadata = sa.MetaData()

_meta = sa.Table(
    "meta", _metadata, sa.Column("name", sa.String(64), primary_key=True), sa.Column("value", sa.LargeBinary)
)
_systems = sa.Table(
    "systems",
    _metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("descriptor", sa.LargeBinary),
)
_statements = sa.Table(
    "statements",
    _metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("stream", sa.String(512)),
    sa.Column("kind", sa.String(32)),
    sa.Column("claims", sa.LargeBinary),
    sa.Column("count", sa.Integer),
    sa.Column("release_at", sa.BigInteger),
    sa.Column("status", sa.String(16)),
    sa.Column("seq", sa.BigInteger),
    sa.Column("entry", sa.LargeBinary),
    sa.Column("leaf", sa.LargeBinary),
    sa.Column("promise", sa.LargeBinary),
    sa.Column("position", sa.BigInteger),
    sa.Column("refusal", sa.String(64)),
)
_commitments = sa.Table(
    "commitments",
    _metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("system", sa.Integer),
    sa.Column("index", sa.LargeBinary(32)),
    sa.Column("commitment", sa.LargeBinary(32)),
    sa.Column("status", sa.Integer),
    sa.Column("generation", sa.BigInteger),
    sa.Column("version", sa.BigInteger),
    sa.Column("hold", _ID),
    sa.Column("tombstone", _ID),
)
_secrets = sa.Table(
    "secrets",
    _metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("salt", sa.LargeBinary),
    sa.Column("records", sa.LargeBinary),
)
_known = sa.Table(
    "known", _metadata, sa.Column("tag", sa.LargeBinary(16), primary_key=True), sa.Column("beta", sa.LargeBinary(64))
)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A statement of ours, from the moment it takes its first row."""

    id: int
    stream: str
    kind: str
    claims: dict[str, Any]  # the payload's fields without count and root
    count: int  # rows; 0 for statements without a row file
    release_at: int  # Unix seconds: not signed before
    status: str
    seq: int | None
    entry: bytes | None
    leaf: Hash | None
    promise: bytes | None
    position: int | None
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Commitment:
    """One commitment with its secrets. `salt` and `records` are empty or zero once destroyed, or if never known."""

    id: int
    index: Hash
    commitment: Hash
    status: int
    generation: int
    version: int
    hold: int  # statement ids
    tombstone: int | None
    salt: bytes
    records: bytes  # the sorted SHA-256s of the records, one after the other

    @property
    def opens(self) -> bool:
        """Tell whether the vault can still open it."""
        return len(self.salt) == len(ZERO_SALT) and self.salt != ZERO_SALT


@dataclass(frozen=True, slots=True)
class NewCommitment:
    """A commitment to be published by a hold."""

    index: Hash
    commitment: Hash
    generation: int
    version: int
    salt: bytes
    records: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How one system stands in the vault."""

    held: int
    erased: int
    pending_hold: int
    pending_erase: int


class Vault:
    """An open vault. `Vault.open` brings the schema up to date."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, url: str) -> Self:
        """Open, creating what is missing. Raises `Unavailable`: `vault/open`."""
        engine = sa.create_engine(url)
        if engine.dialect.name == "sqlite":
            if engine.url.database not in (None, "", ":memory:"):
                # Created by us, so that nobody else may read it: SQLite would follow the umask.
                Path(str(engine.url.database)).touch(mode=0o600, exist_ok=True)
            event.listen(engine, "connect", _configure_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        vault = cls(engine)
        try:
            vault._migrate()
        except DatabaseError as error:
            raise Unavailable("vault/open", f"the vault does not open: {error.orig}") from None
        return vault

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _migrate(self) -> None:
        with self.engine.begin() as connection:
            if _version(connection) == HEAD:
                return
            # Imported where it is used: it takes a third of a second, and most commands find the vault as it should be.
            from alembic import command
            from alembic.config import Config
            from alembic.util import CommandError

            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError:
                raise Unavailable(
                    "vault/newer", "a newer version of attest wrote this vault", hint="install that version"
                ) from None

    # --- names and values ---

    def get(self, name: str) -> bytes | None:
        """Return a named value."""
        with self.engine.connect() as connection:
            found: bytes | None = connection.scalar(sa.select(_meta.c.value).where(_meta.c.name == name))
            return found

    def put(self, name: str, value: bytes) -> None:
        """Store a named value."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(_meta).where(_meta.c.name == name))
            connection.execute(sa.insert(_meta).values(name=name, value=value))

    def clear_meta(self) -> None:
        """Forget all named values, before a backup brings its own."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(_meta))

    # --- systems ---

    def systems(self) -> dict[str, Descriptor]:
        """Return the published descriptors by system id, ascending."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(_systems.c.id, _systems.c.descriptor).order_by(_systems.c.id))
            return {row.id: Descriptor.decode(row.descriptor) for row in rows}

    def _number(self, connection: sa.Connection, system: str) -> int:
        number = connection.scalar(sa.select(_systems.c.number).where(_systems.c.id == system))
        if number is None:
            raise Conflict("vault/system", f"system {system} is not registered", hint="attest holder systems add")
        return int(number)

    # --- statements ---

    def statements(self, *statuses: str, stream: str | None = None) -> list[Outgoing]:
        """Return the statements of these statuses, all if none is named, in order."""
        query = sa.select(_statements).order_by(_statements.c.id)
        if statuses:
            query = query.where(_statements.c.status.in_(statuses))
        if stream is not None:
            query = query.where(_statements.c.stream == stream)
        with self.engine.connect() as connection:
            return [_outgoing(row) for row in connection.execute(query)]

    def statement(self, number: int) -> Outgoing:
        """Return one statement."""
        with self.engine.connect() as connection:
            return _outgoing(connection.execute(sa.select(_statements).where(_statements.c.id == number)).one())

    def published(self) -> dict[str, int]:
        """Return how many statements of each stream are published: the next seq of that stream."""
        query = (
            sa.select(_statements.c.stream, sa.func.count())
            .where(_statements.c.status == PUBLISHED)
            .group_by(_statements.c.stream)
        )
        with self.engine.connect() as connection:
            return {stream: int(count) for stream, count in connection.execute(query)}

    def add_statement(self, stream: str, kind: str, claims: dict[str, Any], release_at: int) -> int:
        """Add a statement without rows, unless the same one waits already; return its id."""
        encoded = encode_cbor(claims)
        same = sa.select(_statements.c.id).where(
            _statements.c.status == OPEN,
            _statements.c.stream == stream,
            _statements.c.kind == kind,
            _statements.c.claims == encoded,
        )
        with self.engine.begin() as connection:
            found = connection.scalar(same)
            if found is not None:
                return int(found)
            return _insert_statement(connection, stream, kind, encoded, release_at, count=0)

    def rows(self, statement: Outgoing) -> dict[Hash, Hash]:
        """Return index → commitment of the rows of a hold or tombstone."""
        column = _commitments.c.hold if statement.kind == "hold/1" else _commitments.c.tombstone
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(_commitments.c.index, _commitments.c.commitment).where(column == statement.id)
            )
            return {bytes(index): bytes(commitment) for index, commitment in rows}

    def sign(self, number: int, *, seq: int, entry: bytes, leaf: Hash) -> None:
        """Record what will be sent, before it is sent: from here on only these bytes go out."""
        self._update(number, status=SIGNED, seq=seq, entry=entry, leaf=leaf, promise=None)

    def promise(self, number: int, promise: bytes) -> None:
        """Keep the log's promise: broken, it is evidence."""
        self._update(number, promise=promise)

    def reopen(self, number: int) -> None:
        """Take back a signature that the log refused for good, so that the rows can be signed again."""
        self._update(number, status=OPEN, seq=None, entry=None, leaf=None, promise=None)

    def _update(self, number: int, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.update(_statements).where(_statements.c.id == number).values(**values))

    def publish(self, number: int, position: int) -> None:
        """Take note that a statement is in the log, and carry out what follows from it.

        A hold's rows become the current ones, and what they replace is destroyed. A tombstone's salts and
        record digests are destroyed.
        """
        with self.engine.begin() as connection:
            statement = _outgoing(connection.execute(sa.select(_statements).where(_statements.c.id == number)).one())
            connection.execute(
                sa.update(_statements).where(_statements.c.id == number).values(status=PUBLISHED, position=position)
            )
            match statement.kind:
                case "hold/1":
                    _publish_hold(connection, number, self._number(connection, statement.stream))
                case "tombstone/1":
                    _destroy(connection, _commitments.c.tombstone == number)
                    connection.execute(
                        sa.update(_commitments).where(_commitments.c.tombstone == number).values(status=ERASED)
                    )
                case "systems/1":
                    _register(connection, [Descriptor.parse(each) for each in statement.claims["systems"]])

    def refuse(self, number: int, code: str) -> None:
        """Give up a statement that the log will never take; a hold's salts are destroyed, its rows forgotten."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(_statements).where(_statements.c.id == number).values(status=REFUSED, refusal=code)
            )
            pending = sa.and_(_commitments.c.hold == number, _commitments.c.status == PENDING)
            _destroy(connection, pending)
            connection.execute(sa.delete(_commitments).where(pending))
            connection.execute(sa.update(_commitments).where(_commitments.c.tombstone == number).values(tombstone=None))

    # --- commitments ---

    def live(self, system: str, indexes: Sequence[Hash]) -> dict[Hash, list[Commitment]]:
        """Return the current and the pending commitment of each index, as far as there are any."""
        found: dict[Hash, list[Commitment]] = {}
        with self.engine.connect() as connection:
            number = self._number(connection, system)
            for start in range(0, len(indexes), _CHUNK):
                query = _WITH_SECRETS.where(
                    _commitments.c.system == number, _commitments.c.index.in_(indexes[start : start + _CHUNK])
                )
                for row in connection.execute(query):
                    each = Commitment(**row._mapping)
                    found.setdefault(each.index, []).append(each)
        return found

    def stage_holds(
        self, system: str, claims: dict[str, Any], release_at: int, new: Sequence[NewCommitment], drop: Sequence[int]
    ) -> None:
        """Add rows to the open hold with these claims, and forget the pending rows `drop` that they replace."""
        with self.engine.begin() as connection:
            number = self._number(connection, system)
            self._drop(connection, drop)
            first = (connection.scalar(sa.select(sa.func.max(_secrets.c.id))) or 0) + 1
            for statement, part in _into_statements(connection, system, "hold/1", claims, release_at, new):
                connection.execute(
                    sa.insert(_commitments),
                    [
                        {
                            "id": first + place,
                            "system": number,
                            "index": each.index,
                            "commitment": each.commitment,
                            "status": PENDING,
                            "generation": each.generation,
                            "version": each.version,
                            "hold": statement,
                            "tombstone": None,
                        }
                        for place, each in enumerate(part)
                    ],
                )
                connection.execute(
                    sa.insert(_secrets),
                    [
                        {"id": first + place, "salt": each.salt, "records": each.records}
                        for place, each in enumerate(part)
                    ],
                )
                first += len(part)

    def _drop(self, connection: sa.Connection, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), _CHUNK):
            chosen = _commitments.c.id.in_(ids[start : start + _CHUNK])
            _destroy(connection, chosen)
            held_by = sa.select(_commitments.c.hold, sa.func.count()).where(chosen).group_by(_commitments.c.hold)
            for statement, count in connection.execute(held_by).all():
                connection.execute(
                    sa.update(_statements)
                    .where(_statements.c.id == statement)
                    .values(count=_statements.c.count - count)
                )
            connection.execute(sa.delete(_commitments).where(chosen))

    def stage_tombstones(
        self, system: str, claims: dict[str, Any], release_at: int, ids: Sequence[int], forget: Sequence[bytes]
    ) -> None:
        """Add held rows to the open tombstone with these claims, and forget the tags of their locators."""
        with self.engine.begin() as connection:
            for statement, part in _into_statements(connection, system, "tombstone/1", claims, release_at, ids):
                for start in range(0, len(part), _CHUNK):
                    connection.execute(
                        sa.update(_commitments)
                        .where(_commitments.c.id.in_(part[start : start + _CHUNK]))
                        .values(tombstone=statement)
                    )
            for start in range(0, len(forget), _CHUNK):
                connection.execute(sa.delete(_known).where(_known.c.tag.in_(forget[start : start + _CHUNK])))

    def counts(self, system: str) -> Counts:
        """Count one system's commitments."""
        with self.engine.connect() as connection:
            number = self._number(connection, system)
            rows = connection.execute(
                sa.select(_commitments.c.status, _commitments.c.tombstone.is_not(None), sa.func.count())
                .where(_commitments.c.system == number)
                .group_by(_commitments.c.status, _commitments.c.tombstone.is_not(None))
            ).all()
        by = {(status, bool(leaving)): count for status, leaving, count in rows}
        return Counts(
            held=by.get((HELD, False), 0) + by.get((HELD, True), 0),
            erased=by.get((ERASED, True), 0) + by.get((ERASED, False), 0),
            pending_hold=by.get((PENDING, False), 0),
            pending_erase=by.get((HELD, True), 0),
        )

    # --- what the log knows and this vault does not ---

    def adopt(
        self, stream: str, kind: str, claims: dict[str, Any], rows: dict[Hash, Hash], *, seq: int, entry: bytes,
        leaf: Hash, position: int,
    ) -> None:  # fmt: skip
        """Take over a published statement of ours that a lost or older vault does not know.

        The rows of a hold become current without salts: nobody can open them, but they can be erased or held anew.
        """
        with self.engine.begin() as connection:
            values = {"seq": seq, "entry": entry, "leaf": leaf, "position": position, "status": PUBLISHED}
            added = _insert_statement(connection, stream, kind, encode_cbor(claims), 0, count=len(rows))
            connection.execute(sa.update(_statements).where(_statements.c.id == added).values(**values))
            if kind == "systems/1":
                _register(connection, [Descriptor.parse(each) for each in claims["systems"]])
            if rows:
                number = self._number(connection, stream)
                _adopt_rows(connection, number, added, rows, held=kind == "hold/1")

    # --- tags ---

    def betas(self, tags: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the VRF outputs of the tags that are known."""
        found: dict[bytes, bytes] = {}
        with self.engine.connect() as connection:
            for start in range(0, len(tags), _CHUNK):
                query = sa.select(_known.c.tag, _known.c.beta).where(_known.c.tag.in_(tags[start : start + _CHUNK]))
                found.update((tag, beta) for tag, beta in connection.execute(query))
        return found

    def remember(self, betas: dict[bytes, bytes]) -> None:
        """Keep the VRF outputs of new tags."""
        if betas:
            with self.engine.begin() as connection:
                connection.execute(sa.insert(_known), [{"tag": tag, "beta": beta} for tag, beta in betas.items()])

    # --- backups ---

    def copy_to(self, target: "Vault") -> None:
        """Copy everything into an empty vault, whatever databases the two live in."""
        with self.engine.connect() as source, target.engine.begin() as sink:
            for table in (_meta, _systems, _statements, _commitments, _secrets, _known):
                if sink.scalar(sa.select(sa.func.count()).select_from(table)):
                    raise Conflict("vault/not-empty", "a vault is restored into an empty one only")
                rows = source.execution_options(yield_per=5_000).execute(sa.select(table))
                for part in rows.mappings().partitions():
                    sink.execute(sa.insert(table), [dict(row) for row in part])


# --- statements in SQL ---

_WITH_SECRETS = sa.select(
    _commitments.c.id, _commitments.c.index, _commitments.c.commitment, _commitments.c.status,
    _commitments.c.generation, _commitments.c.version, _commitments.c.hold, _commitments.c.tombstone,
    _secrets.c.salt, _secrets.c.records,
).join(_secrets, _secrets.c.id == _commitments.c.id)  # fmt: skip


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("vault_version"):
        return None
    return str(connection.scalar(sa.text("SELECT version_num FROM vault_version")))


def _outgoing(row: Any) -> Outgoing:
    found = dict(row._mapping)
    claims = decode_cbor(found.pop("claims"))
    return Outgoing(**found, claims=claims)


def _insert_statement(
    connection: sa.Connection, stream: str, kind: str, claims: bytes, release_at: int, *, count: int
) -> int:
    number = (connection.scalar(sa.select(sa.func.max(_statements.c.id))) or 0) + 1
    connection.execute(
        sa.insert(_statements).values(
            id=number, stream=stream, kind=kind, claims=claims, count=count, release_at=release_at, status=OPEN
        )
    )
    return int(number)


def _into_statements(
    connection: sa.Connection, system: str, kind: str, claims: dict[str, Any], release_at: int, new: Sequence[Any]
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Deal `new` out to open statements with these claims, at most `MAX_ROWS` to each."""
    encoded = encode_cbor(claims)
    while new:
        found = connection.execute(
            sa.select(_statements.c.id, _statements.c.count)
            .where(
                _statements.c.status == OPEN,
                _statements.c.stream == system,
                _statements.c.kind == kind,
                _statements.c.claims == encoded,
                _statements.c.release_at == release_at,
                _statements.c.count < MAX_ROWS,
            )
            .order_by(_statements.c.id)
        ).first()
        if found is None:
            number, count = _insert_statement(connection, system, kind, encoded, release_at, count=0), 0
        else:
            number, count = found
        part, new = new[: MAX_ROWS - count], new[MAX_ROWS - count :]
        connection.execute(sa.update(_statements).where(_statements.c.id == number).values(count=count + len(part)))
        yield number, part


def _publish_hold(connection: sa.Connection, number: int, system: int) -> None:
    new = sa.and_(_commitments.c.hold == number, _commitments.c.status == PENDING)
    replaced = sa.and_(
        _commitments.c.system == system,
        _commitments.c.status.in_((HELD, ERASED)),
        _commitments.c.index.in_(sa.select(_commitments.c.index).where(new).scalar_subquery()),
    )
    ids = [row.id for row in connection.execute(sa.select(_commitments.c.id).where(replaced))]
    _remove(connection, ids)
    connection.execute(sa.update(_commitments).where(new).values(status=HELD))


def _remove(connection: sa.Connection, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), _CHUNK):
        chosen = _commitments.c.id.in_(ids[start : start + _CHUNK])
        _destroy(connection, chosen)
        connection.execute(sa.delete(_commitments).where(chosen))


def _destroy(connection: sa.Connection, chosen: sa.ColumnElement[bool]) -> None:
    """Overwrite the salts and record digests of the chosen commitments.

    By zeros of the same length: SQLite then writes into the very bytes, and nothing moves. Rows of this table are never
    deleted either, because a page that is rebuilt may leave copies of its neighbours behind.
    """
    ids = sa.select(_commitments.c.id).where(chosen)
    records = (
        sa.func.zeroblob(sa.func.length(_secrets.c.records))
        if connection.dialect.name == "sqlite"
        else sa.literal(b"", sa.LargeBinary)
    )
    connection.execute(sa.update(_secrets).where(_secrets.c.id.in_(ids)).values(salt=ZERO_SALT, records=records))


def _register(connection: sa.Connection, descriptors: Iterable[Descriptor]) -> None:
    for descriptor in descriptors:
        number = connection.scalar(sa.select(_systems.c.number).where(_systems.c.id == descriptor.id))
        if number is None:
            number = (connection.scalar(sa.select(sa.func.max(_systems.c.number))) or 0) + 1
            connection.execute(
                sa.insert(_systems).values(id=descriptor.id, number=number, descriptor=descriptor.encode())
            )
        else:
            connection.execute(
                sa.update(_systems).where(_systems.c.id == descriptor.id).values(descriptor=descriptor.encode())
            )


def _adopt_rows(connection: sa.Connection, system: int, statement: int, rows: dict[Hash, Hash], *, held: bool) -> None:
    indexes = list(rows)
    current: dict[Hash, Any] = {}
    sent: dict[Hash, Any] = {}
    for start in range(0, len(indexes), _CHUNK):
        query = sa.select(_commitments).where(
            _commitments.c.system == system, _commitments.c.index.in_(indexes[start : start + _CHUNK])
        )
        for row in connection.execute(query).all():
            index = row._mapping["index"]  # a row is a tuple, and tuples have a method of that name
            if row.status != PENDING:
                current[index] = row
            elif not (held and rows[index] == row.commitment):
                _remove(connection, [row.id])  # the log has moved on
            else:
                sent[index] = row  # ours after all, sent and then signed anew: the salt is here
    if not held:
        for start in range(0, len(indexes), _CHUNK):
            ids = [current[index].id for index in indexes[start : start + _CHUNK]]
            chosen = _commitments.c.id.in_(ids)
            _destroy(connection, chosen)
            connection.execute(sa.update(_commitments).where(chosen).values(status=ERASED, tombstone=statement))
        return
    _remove(connection, [row.id for row in current.values()])
    for row in sent.values():
        connection.execute(
            sa.update(_commitments).where(_commitments.c.id == row.id).values(status=HELD, hold=statement)
        )
        connection.execute(
            sa.update(_statements).where(_statements.c.id == row.hold).values(count=_statements.c.count - 1)
        )
    rows = {index: commitment for index, commitment in rows.items() if index not in sent}
    if not rows:
        return
    first = (connection.scalar(sa.select(sa.func.max(_secrets.c.id))) or 0) + 1
    added = []
    for place, (index, commitment) in enumerate(rows.items()):
        old = current.get(index)
        generation = 1 if old is None else old.generation + (old.status == ERASED)
        version = 1 if old is None or old.status == ERASED else old.version + 1
        added.append(
            {
                "id": first + place, "system": system, "index": index, "commitment": commitment, "status": HELD,
                "generation": generation, "version": version, "hold": statement, "tombstone": None,
            }
        )  # fmt: skip
    connection.execute(sa.insert(_commitments), added)
    connection.execute(sa.insert(_secrets), [{"id": row["id"], "salt": ZERO_SALT, "records": b""} for row in added])


# --- SQLite ---


# A rollback journal, not a write-ahead log: once a transaction that destroys a salt is over, the one file holds no copy
# of it, whoever else was reading.
PRAGMAS = {
    "secure_delete": "ON",
    "journal_mode": "DELETE",
    "synchronous": "FULL",
    "temp_store": "MEMORY",
    "busy_timeout": "30000",
    "foreign_keys": "ON",
    "cache_size": "-65536",
}


def _configure_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN is then the only one
    for name, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {name}={value}").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def opened(url: str) -> Iterator[Vault]:
    """Open a vault for a block."""
    vault = Vault.open(url)
    try:
        yield vault
    finally:
        vault.close()


def sqlite_url(path: Path) -> str:
    """Return the URL of a vault in a file."""
    if "?" in str(path):
        raise Malformed("vault/path", "a path with a question mark is no SQLite URL")
    return f"sqlite:///{path}"
