"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "auditor_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "register",
        sa.Column("origin", sa.Text, primary_key=True),
        sa.Column("checkpoint", sa.Text, nullable=False),
    )
