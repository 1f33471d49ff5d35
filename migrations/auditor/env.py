"""Runs an auditor's migrations inside the transaction that `attest.store.db` opens."""

from alembic import context

from attest.store.audited import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
