"""Membership inference: can anybody tell who was in the private set, from the model or from the released images?

`validity` comes first and needs no model: where private set and holdout can be told apart by looks, no membership figure
means anything, and all of them are marked invalid. `run` then applies the probes:

    white box   choose.py       statistics of losses.py, queries.py,     -> membership.white_box.*, the worst of all
                                deep.py, on all sets of weights;            probes and of all weights counts
                ensemble.py     all of them together
    black box   black_box.py    calibrated nearest neighbour, embedder   -> membership.black_box.*
                                the same on pixels                       evidence

Which probes make the verdict is fixed by the configuration, before any data are seen. Limits must hold for every one of
them, so that their upper bounds need no correction. Non-members are always the evaluation role; the calibration role
standardises scores, the reference role is the black box's background and trains a reference model where one is asked for,
members are patients drawn at random.
"""

from __future__ import annotations

import time

import pandas as pd

from audits.membership.black_box import NearestNeighbour, PixelSpace
from audits.membership.choose import Reference, choose, turns_of
from audits.membership.probe import Arm, Probe, Roles, Schema, sample_patients
from audits.membership.split import Validity, assess
from audits.membership.target import Target
from audits.membership.verdict import Outcome, evidence, judge, metrics, not_tested, split_evidence, split_metrics
from audits.membership.white_box import probe
from synguard.config import MembershipConfig
from synguard.data.images import ImageSet
from synguard.errors import InputError
from synguard.protocols import Denoiser, Embedder
from synguard.results import AuditResult, Metric

__all__ = ["Reference", "Validity", "run", "validity"]

_WHITE, _BLACK = "membership.white_box", "membership.black_box"
_FEWEST_PERMUTATIONS, _FEWEST_RESAMPLES = 199, 200
_NO_MODEL = "no model was given, so the white-box probes could not run"


def validity(
    private: ImageSet,
    roles: Roles,
    *,
    conditions: Schema | None = None,
    embedder: Embedder | None = None,
    config: MembershipConfig,
    seed: int,
) -> Validity:
    """Whether private set and holdout (all roles) can be told apart without the model.

    An `embedder` is optional and must not have been trained on the private set. InputError where the configuration asks for
    fewer permutations than the verdict needs.
    """
    if config.permutations < _FEWEST_PERMUTATIONS:
        # With fewer, p cannot fall below 0.01, and no split could ever be called invalid.
        raise InputError.of("audits.membership.permutations", config.permutations, f"at least {_FEWEST_PERMUTATIONS}")
    members = private.take(sample_patients(private, config.max_members, seed))
    parts = [roles.calibration, roles.evaluation, roles.reference]
    metadata = None
    if conditions is not None:
        frames = [conditions.parse(part.metadata, part.name) for part in (members, *parts)]
        metadata = (frames[0], pd.concat(frames[1:], ignore_index=True))
    return assess(members, parts, metadata=metadata, embedder=embedder, permutations=config.permutations, seed=seed)


def run(
    private: ImageSet,
    roles: Roles,
    synthetic: ImageSet,
    *,
    conditions: Schema | None,
    denoiser: Denoiser | None,
    embedder: Embedder,
    config: MembershipConfig,
    seed: int,
    split: Validity | None = None,
    reference: Reference | None = None,
    closed: str = _NO_MODEL,
) -> AuditResult:
    """Split validity, white-box and black-box probes. `split` is the validity where it has been assessed already.

    `reference` is a model that saw none of the images, for the loss beyond its own; its latents must have the same shape.
    `closed` says why there is no denoiser, where there is none.
    The `embedder` must not have been trained on the private set: one that has tells members apart by itself. InputError
    where the configuration asks for fewer resamples than a bound needs.
    """
    if config.resamples < _FEWEST_RESAMPLES:
        raise InputError.of("audits.membership.resamples", config.resamples, f"at least {_FEWEST_RESAMPLES}")
    started = time.perf_counter()
    split = split or validity(private, roles, conditions=conditions, config=config, seed=seed)
    members = Arm.of(private.take(sample_patients(private, config.max_members, seed)), conditions)
    nonmembers = Arm.of(roles.evaluation, conditions)
    found: list[Metric] = list(split_metrics(split))

    def judged(given: Probe) -> Outcome:
        return judge(given, members, nonmembers, resamples=config.resamples, seed=seed)

    rows: list[tuple[Outcome, str | None]] = []
    missing: list[dict[str, str]] = []

    if denoiser is None:
        found += not_tested(_WHITE, closed)
        missing.append({"access": "white box", "probe": "", "reason": closed})
    else:
        calibration = Arm.of(roles.calibration, conditions)
        chosen = choose(denoiser, calibration, config, reference=reference, seed=seed)
        missing += [{"access": "white box", "probe": name, "reason": reason} for name, reason in chosen.left_out]
        turns = turns_of(denoiser, config)
        looked = [
            outcome
            for weights in denoiser.weights
            for outcome in probe(
                chosen.statistics,
                Target(denoiser, weights, turns),
                calibration,
                members,
                nonmembers,
                resamples=config.resamples,
                seed=seed,
            )
        ]
        found += metrics(_WHITE, looked, split)
        rows += [(outcome, _WHITE) for outcome in looked]

    nearest = [
        judged(NearestNeighbour.fit(space, synthetic, roles.reference))
        for space in (embedder, PixelSpace.fit(roles.calibration))
    ]
    found += metrics(_BLACK, nearest[:1], split)
    rows += [(nearest[0], _BLACK), (nearest[1], None)]
    return AuditResult(
        name="membership",
        metrics=tuple(found),
        evidence={
            "split": split_evidence(split),
            "probes": [evidence(outcome, metric) for outcome, metric in rows],
            "not_tested": missing,
        },
        public=("split", "probes", "not_tested"),
        seconds=time.perf_counter() - started,
    )
