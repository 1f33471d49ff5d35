"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "witness_0001"  # never that of a log: its database has a register too
down_revision = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "register",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("checkpoint", sa.Text, nullable=False),
    )
    op.create_table(
        "forks",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("size", Big, primary_key=True, autoincrement=False),
        sa.Column("root", sa.LargeBinary, primary_key=True),
        sa.Column("time", Big, nullable=False),
        sa.Column("checkpoint", sa.Text, nullable=False),
        sa.Column("cosigned", sa.Text),
    )
    op.create_table(
        "anchors",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("size", Big, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("genesis", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
