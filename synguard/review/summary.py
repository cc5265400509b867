"""What follows from readers' decisions: metrics for the gate, and a record for the internal report. Pure.

Agreement is Cohen's kappa (1960) between the two readers with the most pairs in common, over all four verdicts and all kinds
of pairs; its interval is the Bayesian bootstrap's. A hit is a known copy that a reader called a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from synguard.metrics.agreement import bootstrap_weights, confusions, interval_and_bounds, kappa, smoothed
from synguard.metrics.intervals import clopper_pearson, clopper_pearson_bounds
from synguard.results import Metric
from synguard.review.decisions import VERDICTS, Decision, Standing, contested, settled, standing
from synguard.review.queue import Kind, Pair

__all__ = ["Agreement", "Reader", "Review", "Settled", "review_metrics", "summarise"]

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Reader:
    """How one reader did. `found` of the `known` copies were called copies, `alarms` of the `controls`."""

    name: str
    judged: int
    known: int
    found: int
    controls: int
    alarms: int

    @property
    def interval(self) -> tuple[float, float]:
        """Of the share of known copies found; Clopper and Pearson."""
        return clopper_pearson(self.found, self.known)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cohen's kappa between two readers over n pairs; None where chance agreement is perfect already."""

    readers: tuple[str, str]
    n: int
    kappa: float | None
    interval: tuple[float, float] | None
    bounds: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Settled:
    """A flagged pair and what became of it: `verdict` is None while it is open. `said` are the verdicts by reader's name."""

    file: str
    accepted: bool
    verified: bool
    verdict: str | None
    contested: bool
    said: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Review:
    """All that is known by now."""

    readers: tuple[Reader, ...]
    agreement: Agreement | None
    pairs: tuple[Settled, ...]

    @property
    def open(self) -> int:
        """Flagged pairs on which readers have not settled."""
        return sum(pair.verdict is None for pair in self.pairs)

    @property
    def conflicts(self) -> int:
        """Open pairs that wait for a further reader."""
        return sum(pair.contested for pair in self.pairs)

    def copies(self, *, accepted: bool = False) -> int:
        """Flagged candidates that two readers called copies; with `accepted` of what would be released."""
        return sum(pair.verdict == "copy" and (pair.accepted or not accepted) for pair in self.pairs)


def summarise(pairs: Sequence[Pair], decisions: Sequence[Decision]) -> Review:
    """The review of a run from its pairs and the ledger's decisions, oldest first."""
    held = standing(decisions)
    shown = {pair.digest: pair.kind for pair in pairs if pair.digest}
    names: dict[str, str] = {}
    for decision in decisions:
        names.setdefault(decision.reader, decision.name)
    readers = [reader for reader in names if any(reader in held.get(digest, {}) for digest in shown)]
    found = tuple(
        _settled(pair, held.get(pair.digest, {}) if pair.digest else {}) for pair in pairs if pair.kind == "flagged"
    )
    scores = tuple(_reader(reader, names[reader], held, shown) for reader in readers)
    return Review(scores, _agreement(readers, names, held, shown), found)


def review_metrics(review: Review, *, examined: int, accepted: int) -> tuple[Metric, ...]:
    """`review.*` for the gate; readers are numbered in the order of their first verdict, never named.

    `examined` and `accepted` are the candidates of the run: what the counts are out of.
    """
    counted = "Count over all flagged pairs; settled where two readers said the same and were sure"
    unseen = "nobody has looked yet" if review.pairs and not review.readers else ""
    found = [_count("review.pairs_open", review.open, examined, "pairs", counted)]
    for group, n in ((None, examined), ("accepted", accepted)):
        copies = review.copies(accepted=group is not None)
        found.append(_count("review.copies_confirmed", copies, n, "images", counted, group, unseen=unseen))
    return (*found, *_agreements(review.agreement), *_hits(review.readers))


def _settled(pair: Pair, said: Mapping[str, Decision]) -> Settled:
    told = tuple((d.name, str(d.verdict), d.reason) for d in said.values())
    return Settled(pair.file, pair.accepted, pair.verified, settled(said), contested(said), told)


def _reader(reader: str, name: str, held: Standing, kinds: Mapping[str, Kind]) -> Reader:
    def said(kind: Kind) -> list[str | None]:
        return [held[digest][reader].verdict for digest in kinds if kinds[digest] == kind and reader in held.get(digest, {})]

    known, controls = said("known"), said("control")
    judged = len(known) + len(controls) + len(said("flagged"))
    return Reader(name, judged, len(known), known.count("copy"), len(controls), controls.count("copy"))


def _agreement(
    readers: Sequence[str], names: Mapping[str, str], held: Standing, kinds: Mapping[str, Kind]
) -> Agreement | None:
    common = {
        pair: [held[digest] for digest in kinds if all(reader in held.get(digest, {}) for reader in pair)]
        for pair in combinations(readers, 2)
    }
    if not any(common.values()):
        return None
    pair = max(common, key=lambda each: len(common[each]))  # of equal ones the earliest
    first, second = (np.array([VERDICTS.index(said[r].verdict) for said in common[pair]], float) for r in pair)
    value = float(kappa(confusions(first, second, len(VERDICTS))))
    rng = np.random.default_rng(len(first))
    weights = bootstrap_weights(np.arange(len(first)), _RESAMPLES, rng)
    draws = kappa(smoothed(confusions(first, second, len(VERDICTS), weights), rng))
    who = (names[pair[0]], names[pair[1]])
    if np.isnan(value):
        return Agreement(who, len(first), None, None, None)
    return Agreement(who, len(first), value, *interval_and_bounds(draws))


def _count(name: str, value: int, n: int, unit: str, method: str, group: str | None = None, *, unseen: str = "") -> Metric:
    if unseen:
        return Metric(name=name, group=group, value=None, n=n, unit=unit, method=method, state="not_tested", note=unseen)
    count = float(value)
    span = (count, count)
    return Metric(name=name, group=group, value=count, n=n, unit=unit, method=method, interval=span, bounds=span)


def _agreements(found: Agreement | None) -> list[Metric]:
    method = "Cohen 1960; Bayesian bootstrap over pairs"
    if found is None or found.kappa is None:
        note = "two readers are needed" if found is None else "both readers gave one verdict only"
        n = found.n if found else 0
        return [Metric(name="review.kappa", value=None, n=n, unit="kappa", method=method, state="insufficient", note=note)]
    return [
        Metric(
            name="review.kappa",
            value=found.kappa,
            n=found.n,
            unit="kappa",
            method=method,
            interval=found.interval,
            bounds=found.bounds,
        )
    ]


def _hits(readers: Sequence[Reader]) -> list[Metric]:
    method, name = "Clopper-Pearson, exact", "review.known_copies_found"
    measured = [
        Metric(
            name=name,
            group=f"reader {number}",
            value=reader.found / reader.known,
            n=reader.known,
            unit="share",
            method=method,
            interval=reader.interval,
            bounds=clopper_pearson_bounds(reader.found, reader.known),
            attainable=clopper_pearson_bounds(reader.known, reader.known),
        )
        for number, reader in enumerate(readers, start=1)
        if reader.known
    ]
    if not measured:
        note = "nobody has looked at a known copy yet"
        return [Metric(name=name, value=None, n=0, unit="share", method=method, state="not_tested", note=note)]
    return measured
