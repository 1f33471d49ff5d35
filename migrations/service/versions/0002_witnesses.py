"""How we stand with each witness."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "witnesses",
        sa.Column("url", sa.Text, primary_key=True),
        sa.Column("size", Big, nullable=False),
        sa.Column("problem_code", sa.Text),
        sa.Column("problem", sa.Text),
        sa.Column("since", Big, nullable=False),
    )
