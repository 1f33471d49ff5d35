"""What a monitor tells, and how far it has come."""

import sqlalchemy as sa
from alembic import op

revision = "auditor_0002"
down_revision = "auditor_0001"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "monitored",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("size", Big, nullable=False),
        sa.Column("told", Big, nullable=False),
        sa.Column("muted", sa.Boolean, nullable=False),
        sa.Column("since", Big, nullable=False),
        sa.Column("bytes", Big, nullable=False),
        sa.Column("watched_bytes", Big, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("number", Big, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("delivered", Big),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_pending", "events", ["origin", "number"], sqlite_where=sa.text("delivered IS NULL"))
    op.create_table(
        "conditions",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("since", Big, nullable=False),
        sa.Column("told", sa.Boolean, nullable=False),
    )
    op.create_table(
        "watches",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
