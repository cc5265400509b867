"""The whole way of one release: metrics, gate, run folder, ledger, sign-off, release, and the look at a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synguard import governance
from synguard.config import DataSource, ReleaseConfig, RunConfig
from synguard.data.images import ImageSet
from synguard.errors import InputError, SynguardError
from synguard.governance.gate import decide
from synguard.governance.keys.trust import Grant, Revocation, Trust, grant, revoke
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.heads import head_of_run
from synguard.governance.policy import Policy, load_policy
from synguard.governance.record import ResultsContext, RunRecord, write_run
from synguard.governance.sign_off import sign_off, signable
from synguard.release.make import release
from synguard.release.verify import verify
from synguard.results import Decision, Metric
from synguard.runs.folder import RunFolder
from synguard.runs.ledger import RunLedger
from synguard.runs.material import Material
from tests.support.governed import DETAILS, FIRST, LAST, NOW, TODAY, examined_run, key, trust, write_decision
from tests.support.policies import write

PEOPLE = {
    "a.osei": ["privacy-officer"],
    "b.lund": ["clinical-reviewer"],
    "d.ruiz": ["clinical-reviewer", "governance-board"],
    "e.moss": ["governance-board", "operator", "publisher"],
}
ALL_SIGN = (
    ("e.moss", "operator"),
    ("a.osei", "privacy-officer"),
    ("b.lund", "clinical-reviewer"),
    ("d.ruiz", "governance-board"),
)
RUN = "0" * 32
BASE = Path(governance.__file__).parent / "policies" / "public-release.yaml"
Metrics = dict[tuple[str, str | None], Metric]


@dataclass(frozen=True)
class Outcome:
    """How the way ended: the exit code, and all that was said."""

    code: int
    said: str


@dataclass(frozen=True, kw_only=True)
class Way:
    """A release and what happens to it. `policy` is a file's keys: on top of public-release, or `instead` of it."""

    n: int = 1000
    change: Callable[[Metrics], None] = lambda metrics: None
    policy: Mapping[str, Any] = field(default_factory=dict)
    instead: bool = False
    released: tuple[str, ...] = ("images",)
    attempts: int = 1
    signers: Sequence[tuple[str, str]] = ALL_SIGN
    """Keys and roles; "d.ruiz again" is a second key of d.ruiz."""
    revoked: str = ""
    superseded: bool = False
    days: int = 0
    """Between the sign-off and the release."""


def go(way: Way, clean: Callable[[int], Metrics], folder: Path) -> Outcome:
    """Goes the whole way. Where a release was made, a copy of it has been verified."""
    said: list[str] = []
    folder.mkdir()
    try:
        policy = _policy(way, folder)
        run, decision = _run(way, clean, policy, Ledger.open(folder / "ledger.sqlite"), folder / "run")
        ledger, known = Ledger.open_whole(folder / "ledger.sqlite", [head_of_run(run)]), _trust()
        for name, role in way.signers:
            try:
                sign_off(signable(run), known, key(name), role=role, now=NOW, book=ledger)
            except InputError as error:  # what cannot count is not signed; the release has the last word
                said.append(str(error))
        if way.revoked:
            known = revoke(known, key(way.revoked).key_id, Revocation(TODAY, "laptop was stolen"))
        if way.superseded:
            _decided_again(way, policy, decision, ledger, run)
        now = NOW + timedelta(days=way.days)
        release(run, folder / "release", known, key("e.moss"), DETAILS, now=now, book=ledger)
        copy = shutil.copytree(folder / "release", folder / "copy")
        verify(copy, known, NOW + timedelta(days=3000))
    except SynguardError as error:
        assert not (folder / "release").exists() or (folder / "copy").exists()
        return Outcome(error.exit_code, "\n".join([str(error), *said]))
    return Outcome(0, "\n".join([*decision.reasons, *said]))


def _policy(way: Way, folder: Path) -> Policy:
    if way.instead:
        return load_policy(write(folder, **way.policy))
    return load_policy(write(folder, base=BASE, **way.policy)) if way.policy else _public_release()


@cache
def _public_release() -> Policy:
    return load_policy("public-release")


def _run(way: Way, clean: Callable[[int], Metrics], policy: Policy, ledger: Ledger, folder: Path) -> tuple[Path, Decision]:
    """A run that is decided on, after as many attempts as were asked for, its own among them."""
    examined_run(folder, images=2)
    for number in range(1, way.attempts):
        _attempt(way, policy, ledger, f"{number:032x}", f"try {number}", number)
    metrics = clean(way.n)
    way.change(metrics)
    attempts = _attempt(way, policy, ledger, RUN, "fundus", 0)
    metrics[attempts.name, None] = attempts
    decision = decide(policy, list(metrics.values()), released=way.released, today=TODAY)
    context = ResultsContext(policy=policy, released=way.released)
    public = write_decision(folder, decision, context, list(metrics.values()))
    book = RunLedger(ledger, RUN)
    book.decided(RunFolder(folder), decision.status, decision.exit_code, policy)
    head = book.ended("complete").as_dict()
    write_run(folder, RunRecord(id=RUN, state="complete", config={"name": "fundus"}, results_key=public, ledger=head))
    return folder, decision


def _decided_again(way: Way, policy: Policy, decision: Decision, ledger: Ledger, run: Path) -> None:
    """A newer run of the same name, on some of the same patients."""
    _attempt(way, policy, ledger, "f" * 32, "fundus", 1)
    RunLedger(ledger, "f" * 32).decided(RunFolder(run), decision.status, decision.exit_code, policy)


def _attempt(way: Way, policy: Policy, ledger: Ledger, run: str, name: str, window: int) -> Metric:
    """An attempt at the gate. No two have equal sets, but their private sets all share some images."""
    book = RunLedger(ledger, run)
    config = RunConfig(
        name=name,
        private=DataSource(path="private"),
        holdout=DataSource(path="holdout"),
        release=ReleaseConfig(covers=way.released),
    )
    book.began(config, {"run": run}, policy)
    pool = np.random.default_rng(7).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    private = _images("private", pool[window : window + 10])
    holdout = _images("holdout", np.random.default_rng(100 + window).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8))
    return book.attempt(Material(private, holdout, None, None, None, (), holdout))  # type: ignore[arg-type]


def _images(name: str, pixels: np.ndarray) -> ImageSet:
    files = tuple(f"{name}/{number}.png" for number in range(len(pixels)))
    return ImageSet(name, files, files, pixels, np.array(files), pd.DataFrame(index=range(len(files))), False)


@cache
def _trust() -> Trust:
    """Everybody with a key, and d.ruiz with two."""
    return grant(trust(PEOPLE), "d.ruiz", PEOPLE["d.ruiz"], Grant(key("d.ruiz again").public, FIRST, LAST))
