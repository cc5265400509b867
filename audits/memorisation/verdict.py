"""The calibrated verdict on matches: one score, its p-value, and the lanes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audits.memorisation.calibration import conformal_p_values, tail_threshold
from audits.memorisation.focus import Focus
from audits.memorisation.matching import NOTHING, Matches

__all__ = ["Calibration", "calibrate"]

VERIFIED_RATE = 3e-6
"""Chance at which an unseen image would be called a verified copy, by the model of the tail."""

NEAR_RATE = 1e-4
"""The same for near copies."""

_MARGIN = 0.3
_AS_IT_IS = Focus()
_MIN_CORRELATION = 0.35
_MIN_AREA = 0.5
_MIN_AREA_MOVED = 0.3
_MIN_CALIBRATION = 20


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What unseen images score, and the thresholds drawn from it.

    `scores` are those of the calibration images, sorted; `natural` counts the ones left out because they are themselves
    copies of private images. `focus` takes out what blur adds to a score. `penalty` is taken off the score of moved matches
    (crops, turns, shifts); infinite where real images of other patients match private ones that way too, since such a match
    then proves nothing.
    """

    scores: NDArray[np.float64]
    near: float
    verified: float
    penalty: float
    natural: tuple[int, ...]
    natural_moved: int
    held_on: str
    focus: Focus = _AS_IT_IS

    def combine(self, framed: Matches, moved: Matches, sharpness: NDArray[np.float64]) -> tuple[Matches, NDArray[np.bool_]]:
        """The better match of each query, whose sharpness is given, under one score, and whether it is a moved one."""
        lowered = moved.with_score(np.maximum(moved.score - self.penalty, NOTHING))
        better = lowered.score > framed.score
        found = lowered.where(better, framed)
        corrected = np.where(found.image >= 0, self.focus.correct(found.score, sharpness), found.score)
        return found.with_score(np.maximum(corrected, NOTHING)), better

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Conformal p-values (n,): valid for images drawn like the calibration images."""
        return conformal_p_values(scores, self.scores)

    def decide(self, matches: Matches, moved: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which matches are near copies, and which are verified ones."""
        sound = (matches.image >= 0) & (matches.correlation >= _MIN_CORRELATION)
        sound &= matches.area >= np.where(moved, _MIN_AREA_MOVED, _MIN_AREA)
        return sound & (matches.score > self.near), sound & (matches.score > self.verified)


def calibrate(framed: Matches, moved: Matches, background: tuple[Matches, Matches]) -> Calibration:
    """Thresholds from calibration images; from private ones searched without themselves, where those are too few.

    `background` are the framed and moved matches of private images with images of other patients.
    """
    enough = len(framed) >= _MIN_CALIBRATION
    held_on = "calibration" if enough else "private"
    source_framed, source_moved = (framed, moved) if enough else background
    verified = tail_threshold(source_framed.score, VERIFIED_RATE)
    near = tail_threshold(source_framed.score, NEAR_RATE)
    # A tail that reaches far although its bulk does not is made of real twins: they would blind the test.
    twins = (framed.score > verified) & (framed.correlation >= _MIN_CORRELATION) & (framed.area >= _MIN_AREA)
    kept = framed.score[~twins]
    if len(kept):
        near = max(near, float(kept.max()))
        verified = max(verified, float(kept.max()) + _MARGIN)
    every_moved = np.concatenate([moved.score[~twins], background[1].score])
    limit = tail_threshold(source_moved.score, VERIFIED_RATE)
    natural_moved = int((every_moved > limit).sum())
    usable = natural_moved == 0 and math.isfinite(limit) and math.isfinite(verified)
    penalty = max(0.0, limit - verified) if usable else math.inf
    combined = np.maximum(framed.score, np.maximum(moved.score - penalty, NOTHING))[~twins]
    if len(combined):
        near = max(near, float(combined.max()))
    return Calibration(
        scores=np.sort(combined),
        near=near,
        verified=max(verified, near),
        penalty=penalty,
        natural=tuple(np.flatnonzero(twins).tolist()),
        natural_moved=natural_moved,
        held_on=held_on,
    )
