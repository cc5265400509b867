"""The ledger: the append-only, hash-chained record of runs, batches, gate attempts, decisions, reviews and approvals.

    ledger = Ledger.open()                      # or a file, or postgresql://USER@HOST/DATABASE
    ledger.append("review", {"run": run, "pair": digest, "verdict": "alike by chance"})
    ledger.head()                               # what reports print, and what a second party signs
    ledger.verify()                             # empty where every record is as it was written

What is in which entry: docs/ledger.md.
"""

from __future__ import annotations

from synguard.governance.ledger.chain import Entry, Fault, Head
from synguard.governance.ledger.fingerprints import BlindingKey, Fingerprints
from synguard.governance.ledger.ledger import Ledger

__all__ = ["BlindingKey", "Entry", "Fault", "Fingerprints", "Head", "Ledger"]
