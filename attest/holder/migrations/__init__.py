"""The vault's schema, step by step (Alembic). Each file in `versions` is applied once, in order."""
