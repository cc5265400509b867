"""A process that audits and is killed as soon as it looks at the first candidate: `killed_audit.py CONFIG OUT LEDGER`."""

from __future__ import annotations

import os
import signal
import sys

from synguard.runs import execute

execute.examine_batch = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
execute.generate_and_audit(sys.argv[1], sys.argv[2], ledger=sys.argv[3])
