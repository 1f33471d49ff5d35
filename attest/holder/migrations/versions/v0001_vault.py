"""The first vault."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "systems",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("descriptor", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "statements",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("stream", sa.String(512), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("claims", sa.LargeBinary, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("release_at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("seq", sa.BigInteger),
        sa.Column("entry", sa.LargeBinary),
        sa.Column("leaf", sa.LargeBinary),
        sa.Column("promise", sa.LargeBinary),
        sa.Column("position", sa.BigInteger),
        sa.Column("refusal", sa.String(64)),
    )
    op.create_index("statements_status", "statements", ["status"])
    op.create_index("statements_stream", "statements", ["stream", "status"])
    op.create_table(
        "commitments",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("system", sa.Integer, nullable=False),
        sa.Column("index", sa.LargeBinary(32), nullable=False),
        sa.Column("commitment", sa.LargeBinary(32), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("hold", _ID, sa.ForeignKey("statements.id"), nullable=False),
        sa.Column("tombstone", _ID, sa.ForeignKey("statements.id")),
    )
    op.create_index("commitments_index", "commitments", ["system", "index", "status"], unique=True)
    op.create_index("commitments_hold", "commitments", ["hold"])
    op.create_index("commitments_tombstone", "commitments", ["tombstone"])
    op.create_table(
        "secrets",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("records", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "known",
        sa.Column("tag", sa.LargeBinary(16), primary_key=True),
        sa.Column("beta", sa.LargeBinary(64), nullable=False),
    )
