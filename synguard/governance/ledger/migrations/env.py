"""What alembic runs: all migrations, in a transaction that is open already."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="ledger_version", transactional_ddl=True)
context.run_migrations()
