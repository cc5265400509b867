"""Migrations of the ledger's database, run by alembic in the transaction of whoever opens it."""
