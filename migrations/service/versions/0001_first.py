"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "queue",
        sa.Column("id", Big, primary_key=True, autoincrement=True),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("seq", Big, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("rows_root", sa.LargeBinary),
        sa.Column("row_count", sa.Integer),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("received", Big, nullable=False),
        sa.Column("promise_by", Big),
        sa.Column("promise", sa.LargeBinary),
        sa.Column("refusal", sa.LargeBinary),
        sa.Column("refused_as", sa.Text),
        sa.Column("refused_code", sa.Text),
        sa.Column("refused_message", sa.Text),
        sa.Column("refused_rows", sa.Text),
        sa.UniqueConstraint("leaf", name="uq_queue_leaf"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_queue_state_id", "queue", ["state", "id"])
    op.create_index("ix_queue_rows_root", "queue", ["rows_root"])
    op.create_index("ix_queue_issuer_state", "queue", ["issuer", "state"])
    op.create_table(
        "entries",
        sa.Column("position", Big, primary_key=True, autoincrement=False),
        sa.Column("entry", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("about", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("seq", Big, nullable=False),
        sa.Column("issued_at", Big, nullable=False),
        sa.Column("epoch", Big, nullable=False),
        sa.Column("rows_root", sa.LargeBinary),
        sa.Column("row_count", sa.Integer),
        sa.Column("promise", sa.LargeBinary),
        sa.UniqueConstraint("leaf", name="uq_entries_leaf"),
    )
    op.create_index("ix_entries_issuer_position", "entries", ["issuer", "position"])
    op.create_index("ix_entries_about_position", "entries", ["about", "position"])
    op.create_index("ix_entries_rows_root", "entries", ["rows_root"])
    op.create_table(
        "epochs",
        sa.Column("number", Big, primary_key=True, autoincrement=False),
        sa.Column("size", Big, nullable=False),
        sa.Column("time", Big, nullable=False),
        sa.Column("tree_root", sa.LargeBinary, nullable=False),
        sa.Column("top_root", sa.LargeBinary, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.UniqueConstraint("size", name="uq_epochs_size"),
    )
    op.create_index("ix_epochs_time", "epochs", ["time"])
    op.create_table(
        "cosignatures",
        sa.Column("size", Big, sa.ForeignKey("epochs.size"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("key_id", sa.LargeBinary, primary_key=True),
        sa.Column("time", Big, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    op.create_table(
        "parties",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("position", Big, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("legal_id", sa.Text, nullable=False),
        sa.Column("check_method", sa.Text, nullable=False),
        sa.Column("check_time", Big, nullable=False),
    )
    op.create_index("ix_parties_legal_id", "parties", ["legal_id"])
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("token", Big, nullable=False),
        sa.Column("expires", Big, nullable=False),
    )
    op.create_table(
        "register",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("checkpoint", sa.Text, nullable=False),
    )
