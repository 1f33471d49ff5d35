"""How systems stood after each epoch that touched them. `attest operator migrate` fills it from the log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "counts",
        sa.Column("party", sa.Text, primary_key=True),
        sa.Column("system", sa.Text, primary_key=True),
        sa.Column("epoch", Big, primary_key=True, autoincrement=False),
        sa.Column("held", Big, nullable=False),
        sa.Column("erased", Big, nullable=False),
        sa.Column("reheld", Big, nullable=False),
    )
    op.create_index("ix_counts_epoch", "counts", ["epoch"])
