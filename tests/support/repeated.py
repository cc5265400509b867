"""Audits of one private set in one process, which reads and prepares it once and looks at no image twice.

What the audit finds of an image depends on nothing but the image (`tests/audits/memorisation/test_stage.py` holds that), so
that twenty draws from the same photographs cost little more than one. Whoever uses this compares one draw with a process of
its own, to see that sharing changed nothing.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import pytest

from audits.memorisation import Examined
from audits.memorisation.stage import PreparedMemorisation
from synguard.commands.main import main
from synguard.runs import execute
from tests.support.cli import Outcome, own_ledger

__all__ = ["Repeated"]


class Repeated:
    """`synguard audit ARGUMENTS` again and again, of the same private set, holdout and index."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._seen: dict[bytes, Examined] = {}
        self._examine = PreparedMemorisation.examine
        patch.setattr(execute, "read_material", _once(execute.read_material))
        patch.setattr(execute, "prepare", _once(execute.prepare))
        patch.setattr(PreparedMemorisation, "examine", lambda prepared, *given: self._remembered(prepared, *given))

    def __call__(self, *arguments: object) -> Outcome:
        """Its exit code and what it printed."""
        words = list(map(str, arguments))
        stdout, stderr = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            patch.setattr(sys, "argv", ["synguard", *words])
            for name, value in own_ledger(words).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        return Outcome(int(ended.value.code or 0), stdout.getvalue(), stderr.getvalue())

    def _remembered(
        self, prepared: PreparedMemorisation, pixels: np.ndarray, sha256: Sequence[str], sources: None = None
    ) -> Examined:
        assert sources is None, "what an audit finds of these images depends on nothing but the image"
        keys = [
            hashlib.sha256(f"{digest} ".encode() + one.tobytes()).digest()
            for one, digest in zip(pixels, sha256, strict=True)
        ]
        new = [row for row, key in enumerate(keys) if key not in self._seen]
        if new:
            found = self._examine(prepared, pixels[new], [sha256[row] for row in new])
            self._seen |= {keys[row]: found.take(np.array([place])) for place, row in enumerate(new)}
        return Examined.join([self._seen[key] for key in keys])


def _once(work: Callable[..., Any]) -> Callable[..., Any]:
    """The work done the first time, and its result ever after: all audits have the same private set, holdout and index."""
    done: list[Any] = []

    def result(*given: Any, **named: Any) -> Any:
        if not done:
            done.append(work(*given, **named))
        return done[0]

    return result
