"""The database: its tables, and transactions on SQLite or PostgreSQL. What they hold follows from the log, except the
queue of statements that are not in it yet.

Spec: docs/DESIGN.md#database.
"""

import contextlib
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite

from attest.errors import Unavailable
from attest.resources import resources

BUSY_TIMEOUT_S = 30
_MIGRATE = {
    "service": "attest operator migrate",
    "witness": "attest witness migrate",
    "auditor": "attest audit",
}

HEADS = {"service": "0003", "witness": "witness_0001", "auditor": "auditor_0002"}
"""The newest revision of each schema in migrations/."""

Transaction: TypeAlias = sa.Connection

metadata = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)
_VERSION = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.Text))  # Alembic's own
_Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up only its INTEGER

# Statements on their way into the log, and those that were refused.
queue = sa.Table(
    "queue",
    metadata,
    sa.Column("id", _Big, primary_key=True, autoincrement=True),  # the order of arrival
    sa.Column("leaf", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),  # party id, or the origin
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("seq", _Big, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("rows_root", sa.LargeBinary),
    sa.Column("row_count", sa.Integer),
    sa.Column("state", sa.Text, nullable=False),  # rows: waits for its row file; pending; refused
    sa.Column("received", _Big, nullable=False),
    sa.Column("promise_by", _Big),
    sa.Column("promise", sa.LargeBinary),
    sa.Column("refusal", sa.LargeBinary),
    sa.Column("refused_as", sa.Text),  # the kind of error, lower case
    sa.Column("refused_code", sa.Text),
    sa.Column("refused_message", sa.Text),
    sa.Column("refused_rows", sa.Text),  # decimals, separated by spaces
    sa.Index(None, "state", "id"),
    sa.Index(None, "rows_root"),
    sa.Index(None, "issuer", "state"),
    sqlite_autoincrement=True,
)

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("position", _Big, primary_key=True, autoincrement=False),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("issuer", sa.Text, nullable=False),  # party id, or the origin
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("about", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("seq", _Big, nullable=False),
    sa.Column("issued_at", _Big, nullable=False),
    sa.Column("epoch", _Big, nullable=False),
    sa.Column("rows_root", sa.LargeBinary),
    sa.Column("row_count", sa.Integer),
    sa.Column("promise", sa.LargeBinary),
    sa.Index(None, "issuer", "position"),
    sa.Index(None, "about", "position"),
    sa.Index(None, "rows_root"),
)

# One per checkpoint; `size` is its tree size, and the epoch entry stands at size - 1.
epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("number", _Big, primary_key=True, autoincrement=False),
    sa.Column("size", _Big, nullable=False, unique=True),
    sa.Column("time", _Big, nullable=False),
    sa.Column("tree_root", sa.LargeBinary, nullable=False),
    sa.Column("top_root", sa.LargeBinary, nullable=False),
    sa.Column("checkpoint", sa.Text, nullable=False),  # with the log's signatures
    sa.Index(None, "time"),
)

cosignatures = sa.Table(
    "cosignatures",
    metadata,
    sa.Column("size", _Big, sa.ForeignKey("epochs.size"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("key_id", sa.LargeBinary, primary_key=True),
    sa.Column("time", _Big, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
)

# How we stand with each witness, for whoever asks: written by the sequencer.
witnesses = sa.Table(
    "witnesses",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    sa.Column("size", _Big, nullable=False),  # the largest it is known to have cosigned
    sa.Column("problem_code", sa.Text),  # null: none
    sa.Column("problem", sa.Text),
    sa.Column("since", _Big, nullable=False),  # when that began or ended
)

# What names a party: its head, in memory, has everything else.
parties = sa.Table(
    "parties",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("position", _Big, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("legal_id", sa.Text, nullable=False),
    sa.Column("check_method", sa.Text, nullable=False),
    sa.Column("check_time", _Big, nullable=False),
    sa.Index(None, "legal_id"),
)

# How a system stood after each epoch that touched it; system "" is all of a party's, party = origin all of the log's.
counts = sa.Table(
    "counts",
    metadata,
    sa.Column("party", sa.Text, primary_key=True),
    sa.Column("system", sa.Text, primary_key=True),
    sa.Column("epoch", _Big, primary_key=True, autoincrement=False),
    sa.Column("held", _Big, nullable=False),
    sa.Column("erased", _Big, nullable=False),
    sa.Column("reheld", _Big, nullable=False),
    sa.Index(None, "epoch"),
)

# Who may sequence, and until when. `token` grows with every change of hands.
lease = sa.Table(
    "lease",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("token", _Big, nullable=False),
    sa.Column("expires", _Big, nullable=False),
)

# The latest checkpoint we put our name to, one per log.
register = sa.Table(
    "register",
    metadata,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("checkpoint", sa.Text, nullable=False),
)


class Database:
    """One database, and how to read and write it."""

    def __init__(self, url: str, schema: str = "service") -> None:
        """Connect lazily to an SQLAlchemy URL: SQLite, or PostgreSQL through psycopg.

        Args:
            schema: `service`, `witness` or `auditor`: what the database is for.
        """
        self.url = url
        self._schema = schema
        self.engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"), pool_size=20, max_overflow=40)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._writer = self.engine.execution_options(attest_write=True)

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that only reads. Raises `Unavailable`: `store/database`."""
        with _problems(), self.engine.begin() as transaction:
            yield transaction

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that commits durably when the block ends, and rolls back when it raises.

        Raises:
            Unavailable: `store/full`, `store/database`; after the latter nobody knows whether it was committed.
        """
        with _problems(), self._writer.begin() as transaction:
            yield transaction

    def migrate(self) -> None:
        """Bring the schema to this version's, from any older one or from nothing.

        Raises:
            Unavailable: `store/schema`, it is a newer one, or none of ours; `store/database`.
        """
        # Imported where it is used: it takes a third of a second, and most commands only look at the version.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(resources("migrations") / self._schema).replace("%", "%%"))
        with self.write() as transaction:
            config.attributes["connection"] = transaction
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise Unavailable("store/schema", f"no schema that this version knows: {error}") from None

    def check_schema(self) -> None:
        """Raises `Unavailable`: `store/missing`; `store/schema`, it is older or newer than this version's."""
        want = HEADS[self._schema]
        self._check_there()
        with self.read() as transaction:
            found = None
            if sa.inspect(transaction).has_table(_VERSION.name):
                found = transaction.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none()
        if found != want:
            raise Unavailable(
                "store/schema",
                f"the database has schema {found or 'none'}, this version wants {want}",
                hint=f"back up the database, then run: {_MIGRATE[self._schema]}",
            )

    def _check_there(self) -> None:
        """Raises `Unavailable`: `store/missing`. Opening a SQLite file that is not there would make an empty one."""
        path = self.engine.url.database
        if self.engine.dialect.name == "sqlite" and path and not path.startswith(("file:", ":")):
            try:
                there = Path(path).stat().st_size > 0
            except FileNotFoundError:
                there = False
            if not there:
                raise Unavailable(
                    "store/missing",
                    f"no database at {path}",
                    hint="restore it from a backup; never begin a second history under the same keys",
                )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def insert_if_new(transaction: Transaction, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert a row unless one with the same key is there; tell whether it was inserted."""
    # No savepoint: a full SQLite rolls the whole transaction back, and the savepoint with it.
    insert = sqlite.insert if transaction.dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).values(values).on_conflict_do_nothing().returning(*table.primary_key.columns)
    return transaction.execute(statement).first() is not None


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # `begin` below says how; the driver's own guess is late
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_S * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    # SQLite's own knows ASCII only, and people search for names. PostgreSQL's follows the database's locale.
    connection.create_function("lower", 1, _folded, deterministic=True)


def _folded(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text).casefold()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that begins reading and then writes fails at once where another wrote in between.
    writes = connection.get_execution_options().get("attest_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as error:
        cause = error.orig
        if isinstance(error, sa.exc.IntegrityError):
            raise
        full = isinstance(cause, sqlite3.OperationalError) and "full" in str(cause)
        if full or getattr(cause, "sqlstate", None) == "53100":
            raise Unavailable("store/full", "no space left for the database") from None
        # SQLite calls a damaged file by the name that all its errors have.
        damaged = type(error) is sa.exc.DatabaseError
        if damaged or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError):
            raise Unavailable("store/database", f"the database does not answer: {type(cause).__name__}") from error
        raise
    except sa.exc.TimeoutError:
        raise Unavailable("store/database", "all connections to the database are in use") from None


Clock: TypeAlias = Callable[[], float]
"""Gives Unix seconds."""
