"""A process that appends: `python writer.py WHERE NAME COUNT [die-before-commit]`. Prints the number of each entry."""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import event

from synguard.governance.ledger import Ledger

where, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
ledger = Ledger.open(where)
if "die-before-commit" in sys.argv:
    engine = ledger._database._engine
    event.listen(engine, "commit", lambda connection: os.kill(os.getpid(), signal.SIGKILL))
for turn in range(count):
    entry = ledger.append("note", {"run": name, "turn": turn})
    print(entry.number, flush=True)
