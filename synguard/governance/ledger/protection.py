"""Triggers that let rows be added at the end and nothing else, for both databases, and what is missing of them.

Whoever owns the database can switch them off: they stop accidents and other programs. The chain, and heads kept elsewhere,
are what shows that somebody did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, text

from synguard.governance.ledger.chain import Fault

__all__ = ["missing_protection", "statements"]

_SQLITE = {
    # Before the primary key is looked at: INSERT OR REPLACE deletes rows without calling triggers on deletes.
    "ledger_in_order": "CREATE TRIGGER ledger_in_order BEFORE INSERT ON ledger_entries "
    "WHEN NEW.number IS NOT (SELECT coalesce(max(number), 0) + 1 FROM ledger_entries) OR NEW.previous IS NOT coalesce("
    "(SELECT hash FROM ledger_entries ORDER BY number DESC LIMIT 1), printf('%064d', 0)) "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: this row does not follow from the last one'); END",
    "ledger_no_update": "CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger_entries "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: no row may be changed'); END",
    "ledger_no_delete": "CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger_entries "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: no row may be deleted'); END",
}

_BODIES = {
    "ledger_follows": """
DECLARE
  last record;
BEGIN
  SELECT number, hash INTO last FROM ledger_entries ORDER BY number DESC LIMIT 1;
  IF NEW.number IS DISTINCT FROM coalesce(last.number, 0) + 1
     OR NEW.previous IS DISTINCT FROM coalesce(last.hash, repeat('0', 64)) THEN
    RAISE EXCEPTION 'the ledger is append-only: this row does not follow from the last one';
  END IF;
  RETURN NEW;
END
""",
    "ledger_refuse": """
BEGIN
  RAISE EXCEPTION 'the ledger is append-only: no row may be changed or deleted';
END
""",
}
_POSTGRES: Mapping[str, tuple[str, str, int]] = {
    # name: when, function, and pg_trigger.tgtype (row 1, before 2, insert 4, delete 8, update 16, truncate 32)
    "ledger_in_order": ("BEFORE INSERT ON ledger_entries FOR EACH ROW", "ledger_follows", 7),
    "ledger_no_change": ("BEFORE UPDATE OR DELETE ON ledger_entries FOR EACH ROW", "ledger_refuse", 27),
    "ledger_no_truncate": ("BEFORE TRUNCATE ON ledger_entries FOR EACH STATEMENT", "ledger_refuse", 34),
}


def statements(dialect: str) -> Iterator[str]:
    """The SQL that makes the triggers."""
    if dialect == "sqlite":
        yield from _SQLITE.values()
        return
    for name, body in _BODIES.items():
        # The schema is that of the table, whatever the search path of who inserts.
        yield f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $${body}$$"
    for name, (when, function, _) in _POSTGRES.items():
        yield f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION {function}()"
        # Also for sessions that play the role of a replica.
        yield f"ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER {name}"


def missing_protection(connection: Connection) -> Iterator[Fault]:
    """A fault for each trigger that is gone, off, or another than was made."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger_entries'"
        wanted: Mapping[str, object] = _SQLITE
    else:
        query = (
            "SELECT t.tgname, ARRAY[p.prosrc, t.tgtype::text, t.tgenabled::text, (t.tgqual IS NULL)::text] "
            "FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = to_regclass('ledger_entries')"
        )
        wanted = {name: [_BODIES[function], str(kind), "A", "true"] for name, (_, function, kind) in _POSTGRES.items()}
    found = {str(row[0]): row[1] for row in connection.execute(text(query))}
    for name in wanted:
        if found.get(name) != wanted[name]:
            state = "is another than was made" if name in found else "is missing"
            yield Fault("unprotected", f"the trigger {name} {state}: rows could be changed without notice")
