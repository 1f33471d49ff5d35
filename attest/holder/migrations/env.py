"""Run by Alembic: apply the steps on the connection that the vault hands over."""

from alembic import context
from sqlalchemy import Connection

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="vault_version")
with context.begin_transaction():
    context.run_migrations()
