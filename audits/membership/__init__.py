"""Membership inference: can anybody tell who was in the private set, from the model or from the released images?

`validity` comes first and needs no model: where private set and holdout can be told apart by looks, no membership figure
means anything, and all of them are marked invalid. `run` then applies the probes:

    white box   choose.py         statistics of losses.py, queries.py,   -> membership.white_box.*, the worst of all
                                  deep.py, on all sets of weights;          probes and of all weights counts
                ensemble.py       all of them together
                equivalent.py     what their guesses come to as epsilon  -> membership.epsilon_equivalent, no bound
    black box   black_box.py      calibrated nearest neighbour, in the   -> membership.black_box.*, the worst of both
                                  embedder and in synguard's features
                                  the same on pixels                        evidence
                neighbourhood.py  density ratio, Monte Carlo, and the       evidence
                                  distance to the closest record, on all

Which probes make the verdict is fixed by the configuration, before any data are seen. Limits must hold for every one of
them, so that their upper bounds need no correction; that members were told at all is claimed with p-values corrected for the
number of probes (`detection.py`). Non-members are always the evaluation role; the calibration role standardises scores, the
reference role is the black box's background and trains a reference model where one is asked for, members are patients drawn
at random.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any

from audits.embedding import EmbeddedFeatures
from audits.membership.attributes import attributes
from audits.membership.black_box import PixelSpace
from audits.membership.choose import Reference, choose, turns_of
from audits.membership.detection import detected
from audits.membership.equivalent import equivalent
from audits.membership.neighbourhood import black_box_probes
from audits.membership.probe import Arm, Probe, Roles, Schema, sample_patients
from audits.membership.split import Validity, assess
from audits.membership.target import Shown, Target
from audits.membership.verdict import Outcome, evidence, judge, metrics, not_tested, split_evidence, split_metrics
from audits.membership.white_box import probe
from synguard.config import MembershipConfig
from synguard.data.images import ImageSet
from synguard.errors import InputError
from synguard.protocols import Denoiser, Embedder
from synguard.results import AuditResult, Metric

__all__ = ["Reference", "Validity", "check_disjoint", "run", "validity"]

_WHITE, _BLACK = "membership.white_box", "membership.black_box"
_FEWEST_PERMUTATIONS, _FEWEST_RESAMPLES = 199, 200
_NO_MODEL = "no model was given, so the white-box probes could not run"
_NOTHING_ASKED = "found no probe that asks the denoiser, expected the loss at least; the autoencoder has figures of its own"


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
    check_disjoint(roles)
    metadata = attributes(members, parts, conditions)
    return assess(members, parts, metadata=metadata, embedder=embedder, permutations=config.permutations, seed=seed)


def check_disjoint(roles: Roles) -> None:
    """InputError where two roles share a patient or a file: what chooses a threshold may never be judged by it."""
    named = {"calibration": roles.calibration, "evaluation": roles.evaluation, "reference": roles.reference}
    for (first, one), (second, other) in combinations(named.items(), 2):
        for what, ours, theirs in (("patient", one.patients, other.patients), ("file", one.sha256, other.sha256)):
            both = sorted(set(map(str, ours)) & set(map(str, theirs)))
            if both:
                found = f"{what} {both[0]} in {first} and {second}"
                raise InputError.of("holdout roles", found, "roles that share no patient and no file")


def run(
    private: ImageSet,
    roles: Roles,
    synthetic: ImageSet,
    *,
    conditions: Schema | None,
    denoiser: Denoiser | None,
    embedder: Embedder,
    embedded: Embedder | None = None,
    config: MembershipConfig,
    seed: int,
    split: Validity | None = None,
    reference: Reference | None = None,
    closed: str = _NO_MODEL,
    delta: float | None = None,
) -> AuditResult:
    """Split validity, white-box and black-box probes. `split` is the validity where it has been assessed already.

    `reference` is a model that saw none of the images, for the loss beyond its own; its latents must have the same shape.
    `closed` says why there is no denoiser, where there is none. `delta` is that of the epsilon equivalent, None where coins
    decided who takes part, and there is a bound.
    The `embedder` must not have been trained on the private set: one that has tells members apart by itself. Where it is not
    synguard's own, that one judges beside it (`embedded`, or one made here). InputError where the configuration asks for
    fewer resamples than a bound needs.
    """
    if config.resamples < _FEWEST_RESAMPLES:
        raise InputError.of("audits.membership.resamples", config.resamples, f"at least {_FEWEST_RESAMPLES}")
    started = time.perf_counter()
    check_disjoint(roles)
    split = split or validity(private, roles, conditions=conditions, embedder=embedder, config=config, seed=seed)
    found: list[Metric] = list(split_metrics(split))
    empty = [name for name, images in _sets(private, roles, synthetic).items() if len(images) == 0]
    if empty:
        reason = f"found no image in {' and '.join(empty)}, expected some in each set"
        for prefix in (_WHITE, _BLACK):
            found += not_tested(prefix, reason, "insufficient")
        return _result(found, split, [], [{"access": "any", "reason": reason}], started)
    members = Arm.of(private.take(sample_patients(private, config.max_members, seed)), conditions)
    nonmembers = Arm.of(roles.evaluation, conditions)

    def judged(given: Probe) -> Outcome:
        return judge(given, members, nonmembers, resamples=config.resamples, seed=seed)

    rows: list[tuple[Outcome, str | None]] = []
    missing: list[dict[str, str]] = []
    told: dict[str, Any] = {}

    if denoiser is not None:
        calibration = Arm.of(roles.calibration, conditions)
        chosen = choose(denoiser, calibration, config, reference=reference, seed=seed)
        missing += [{"access": "white box", "probe": name, "reason": reason} for name, reason in chosen.left_out]
        turns = turns_of(denoiser, config)
        if not chosen.ask(Target(denoiser, denoiser.weights[0], turns)):
            denoiser, closed = None, _NOTHING_ASKED
    if denoiser is None:
        found += not_tested(_WHITE, closed)
        missing.append({"access": "white box", "probe": "", "reason": closed})
    else:
        shown = [Shown.of(arm, denoiser, turns) for arm in (calibration, members, nonmembers)]
        looked = [
            outcome
            for weights in denoiser.weights
            for outcome in probe(
                chosen.statistics,
                Target(denoiser, weights, turns),
                *shown,
                resamples=config.resamples,
                seed=seed,
            )
        ]
        found += metrics(_WHITE, looked, split)
        if delta is not None:
            equal, told["equivalent"] = equivalent(looked, members, nonmembers, split, delta, seed)
            found.append(equal)
        rows += [(outcome, _WHITE) for outcome in looked]

    spaces: list[tuple[Embedder, str | None]] = [(embedder, _BLACK)]
    if embedder.digest != EmbeddedFeatures.digest:
        # Features that the user brings may see nothing.
        spaces.append((embedded or EmbeddedFeatures(), _BLACK))
    for space, metric in (*spaces, (PixelSpace.fit(roles.calibration), None)):
        first, *others = [judged(probe) for probe in black_box_probes(space, synthetic, roles)]
        rows += [(first, metric), *((outcome, None) for outcome in others)]
    found += metrics(_BLACK, [outcome for outcome, metric in rows if metric == _BLACK], split)
    return _result(found, split, rows, missing, started, told)


def _sets(private: ImageSet, roles: Roles, synthetic: ImageSet) -> dict[str, ImageSet]:
    return {
        "the private set": private,
        "the calibration role": roles.calibration,
        "the evaluation role": roles.evaluation,
        "the reference role": roles.reference,
        "the release": synthetic,
    }


def _result(
    found: Sequence[Metric],
    split: Validity,
    rows: Sequence[tuple[Outcome, str | None]],
    missing: Sequence[Mapping[str, str]],
    started: float,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> AuditResult:
    return AuditResult(
        name="membership",
        metrics=tuple(found),
        evidence={
            "split": split_evidence(split),
            "probes": detected([evidence(outcome, metric) for outcome, metric in rows]),
            "not_tested": [dict(row) for row in missing],
            **told,
        },
        public=("split", "probes", "not_tested", *told),
        seconds=time.perf_counter() - started,
    )
