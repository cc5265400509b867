"""What the release gives away about single patients, asked the way data protection law asks it (WP29 opinion 05/2014).

    singling out    is there somebody whom a synthetic image fits, and nobody else?      -> disclosure.singling_out
    linkability     do two views of a patient lead to the same synthetic image?          -> disclosure.linkability
    inference       does the nearest synthetic image's label tell a patient's attribute?  -> disclosure.inference

The form is that of Giomi et al. 2023 ("Anonymeter", arXiv:2211.10459), written anew for images: each attack is made on every
private patient, in the same way on holdout patients (the control: what a picture of the population gives away), and once
without any release (naive baseline). What counts is the gain over the control. The unit is the patient.

Roles of the holdout: thresholds come from the calibration role, controls from the evaluation role, the naive baseline of
singling out from the reference role. Where private set and holdout can be told apart without the model, the control is none,
and all figures are invalid.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audits.disclosure.attacks import UNKNOWN, Gallery, Successes, infer, link, search_radius, single_out
from audits.disclosure.exposed import exposed, pseudonym
from audits.disclosure.judging import FEWEST, Attack, attack_of, evidence, metrics, untested
from audits.disclosure.views import one_of_each, views
from audits.membership.black_box import NearestNeighbour
from audits.membership.probe import Arm, Roles, sample_patients
from audits.membership.split import Validity
from audits.spaces import Remembered, embed_all
from synguard.config import MembershipConfig
from synguard.data.conditions import ConditionSchema
from synguard.data.images import ImageSet
from synguard.protocols import Embedder
from synguard.results import AuditResult

__all__ = ["pseudonym", "run"]

Integers = NDArray[np.int64]
_ALARMS = 0.01
"""Share of unseen patients whom a predicate of this width finds somebody else for."""
_NO_LABELS = "the release has no attribute with levels, so none could be inferred"
_NO_IMAGES = "a role of the holdout, the private set or the release holds no image"


def run(
    private: ImageSet,
    roles: Roles,
    synthetic: ImageSet,
    *,
    schema: ConditionSchema,
    embedder: Embedder,
    split: Validity,
    config: MembershipConfig,
    seed: int,
) -> AuditResult:
    """The three attacks. The `embedder` must not have been trained on the private set. `schema` are the release's labels.

    `config.max_members` private images are attacked, by whole patients drawn at random, as in the membership audit.
    """
    started = time.perf_counter()
    members = private.take(sample_patients(private, config.max_members, seed))
    sets = {"members": members, "evaluation": roles.evaluation, "calibration": roles.calibration, "release": synthetic}
    sets["reference"] = roles.reference
    rows: list[dict[str, object]] = []
    if min(len(images) for images in sets.values()) == 0:
        attacks = [untested(name, _NO_IMAGES) for name in ("singling_out", "linkability", "inference")]
    else:
        space = Remembered.of(embedder)
        labels = {name: schema.parse(images.metadata, images.name) for name, images in sets.items()}
        rng = np.random.default_rng([seed, 0xD15C])
        singled, alone = _singled_out(sets, labels, schema, space, rng)
        linked, tied = _linked(sets, space, rng)
        guessed = _inferred(sets, labels, schema, space, rng)
        attacks = [singled, linked, *(attack for attack, _ in guessed)]
        probe = NearestNeighbour.fit(space, synthetic, roles.reference)
        nearness = tuple(probe.scores(Arm.of(images)).score for images in (members, roles.evaluation))
        succeeded = [("singling out", alone), ("linkability", tied)]
        succeeded += [(f"inference of {attack.attribute}", by_patient) for attack, by_patient in guessed]
        if np.isfinite(np.concatenate(nearness)).all():
            patients = roles.evaluation.patients.astype(str)
            rows = exposed(members, private, (nearness[0], nearness[1]), patients, succeeded)
        if not guessed:
            attacks.append(untested("inference", _NO_LABELS))
    return AuditResult(
        name="disclosure",
        metrics=metrics(attacks, split),
        evidence={"state": split.state, "attacks": evidence(attacks, split), "exposed": rows},
        public=("state", "attacks"),
        seconds=time.perf_counter() - started,
    )


def _singled_out(
    sets: Mapping[str, ImageSet],
    labels: Mapping[str, pd.DataFrame],
    schema: ConditionSchema,
    space: Embedder,
    rng: np.random.Generator,
) -> tuple[Attack, dict[str, bool]]:
    classes = _classes(schema, labels)
    made = {name: Gallery(embed_all(space, images.pixels), _codes(images), classes[name]) for name, images in sets.items()}
    calibration = made["calibration"]
    if calibration.people < 2:
        return untested("singling_out", "the calibration role holds fewer than two patients"), {}
    radius = search_radius(calibration, _ALARMS)
    found = single_out(made["members"], made["evaluation"], made["release"], made["reference"], radius, rng)
    method = (
        f"Each of {len(sets['release'])} synthetic images stands for the patient with an image within {radius:.3g} of it in "
        f"{space.name}, and with its label where there are several; a patient whom one fits alone is singled out. The "
        f"distance finds somebody for {_ALARMS:.0%} of unseen patients (calibration role)."
    )
    names = np.unique(sets["members"].patients.astype(str))
    return attack_of("singling_out", found, method), _by_name(names, found)


def _linked(sets: Mapping[str, ImageSet], space: Embedder, rng: np.random.Generator) -> tuple[Attack, dict[str, bool]]:
    seen = views(sets["members"], sets["evaluation"], sets["release"], space, fewest=FEWEST, rng=rng)
    found = link(seen.private, seen.holdout, seen.synthetic, rng)
    method = f"Linked where both views have the same nearest synthetic image in {space.name}; views are {seen.words}."
    return attack_of("linkability", found, method), _by_name(seen.private_patients, found)


def _inferred(
    sets: Mapping[str, ImageSet],
    labels: Mapping[str, pd.DataFrame],
    schema: ConditionSchema,
    space: Embedder,
    rng: np.random.Generator,
) -> list[tuple[Attack, dict[str, bool]]]:
    chosen = {name: one_of_each(sets[name], rng) for name in ("members", "evaluation")}
    chosen["release"] = np.arange(len(sets["release"]))
    found = []
    for attribute in schema.discrete:
        sides, patients = {}, np.zeros(0, dtype=np.str_)
        for name, rows in chosen.items():
            codes = schema.codes(labels[name], attribute.name)[rows]
            known = np.isfinite(codes)
            sides[name] = (embed_all(space, sets[name].pixels)[rows[known]], codes[known].astype(np.int64))
            if name == "members":
                patients = sets[name].patients.astype(str)[rows[known]]
        method = f"{attribute.name} of the nearest synthetic image in {space.name}, for one image of each patient."
        if len(sides["release"][1]) == 0:
            note = f"no released image has a value of {attribute.name}"
            found.append((_without_labels(attribute.name, note), dict[str, bool]()))
            continue
        successes = infer(sides["members"], sides["evaluation"], sides["release"])
        found.append((attack_of("inference", successes, method, attribute.name), _by_name(patients, successes)))
    return found


def _without_labels(attribute: str, note: str) -> Attack:
    return Attack(name="inference", attribute=attribute, method="", state="not_tested", note=note, attacked=0, controlled=0)


def _classes(schema: ConditionSchema, labels: Mapping[str, pd.DataFrame]) -> dict[str, Integers]:
    """One code for all levels of an image together; unknown where one is missing, or where there is no attribute."""
    found = {}
    for name, frame in labels.items():
        codes = np.zeros(len(frame)) if schema.discrete else np.full(len(frame), np.nan)
        for attribute in schema.discrete:
            codes = codes * (len(schema.levels(attribute.name)) + 1) + schema.codes(frame, attribute.name)
        found[name] = np.where(np.isfinite(codes), np.nan_to_num(codes), UNKNOWN).astype(np.int64)
    return found


def _codes(images: ImageSet) -> Integers:
    """Patients numbered in the order of their names."""
    return np.asarray(np.unique(images.patients.astype(str), return_inverse=True)[1], dtype=np.int64)


def _by_name(names: NDArray[np.str_], found: Successes) -> dict[str, bool]:
    return {str(name): bool(success) for name, success in zip(names, found.attack, strict=True)}
