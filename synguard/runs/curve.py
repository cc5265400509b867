"""Auditing the checkpoints of a training: joins generator and audit, and keeps what they find beside the training's state.

`training/curve.json` in the generator's folder holds a point for each checkpoint, `training/curve.html` shows them. Both
are owner-only and rewritten whole after each point; a checkpoint that has its point is never measured again, so that a
training that was killed ends with the same file as one that never stopped.

The holdout images are those of the reference role alone. They are measured against and never trained on, and the verdicts
of a later audit come from the evaluation role, which no curve has looked at: who stops a training early because of its
curve has not fitted the model to the images that judge it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reports
from audits import membership
from audits.checkpoints import Yardstick
from synguard.config import RunConfig
from synguard.data.splits import split_holdout
from synguard.errors import InputError
from synguard.governance.files import canonical, read_json, write_private
from synguard.metrics.clusters import confidence_of_each, onset
from synguard.runs.asked import Cell, plan_conditions
from synguard.runs.material import Material
from synguard.runs.plan import attempt_seed
from synguard.runs.progress import Progress

if TYPE_CHECKING:
    from generation.fit import Verdict
    from generation.latent import LatentDiffusion

__all__ = ["NULLS", "Curve", "begins", "curve_lines", "curve_of", "in_words", "judged"]

SCHEMA_VERSION = 1
NULLS: Mapping[str, float] = {"gap": 0.0, "nearer": 0.5}
"""What each figure is where nothing is memorised."""
_CONFIDENCE = 0.95


class Curve:
    """The curve of one training: call it with each checkpoint. It reads nothing and computes nothing before the first."""

    def __init__(self, folder: Path, config: RunConfig, material: Material, progress: Progress) -> None:
        """Of the training in `folder`. InputError where a curve of other images or settings is there already."""
        self.path = folder / "training" / "curve.json"
        self._config, self._material, self._progress = config, material, progress
        self._kept = read_json(self.path) if self.path.exists() else {}
        if self._kept and canonical(self._kept.get("of")) != canonical(self._identity):
            raise InputError.of(
                self.path,
                "a curve of other images, another seed or other settings of generator.curve",
                "the same as when the training began, or no curve",
            )

    def __call__(self, step: int, model: LatentDiffusion) -> Verdict | None:
        """Measure a checkpoint, unless it was, and write the file anew; says where the training is to stop, if it may."""
        if all(point["step"] != step for point in self._kept.get("points", ())):
            self._measure(step, model)
        if not self._config.generator.curve.stop:
            return None
        return "good" if self._kept["split"]["state"] == "invalid" else judged(self._kept["points"])

    def _measure(self, step: int, model: LatentDiffusion) -> None:
        points = list(self._kept.get("points", ()))
        config = self._config
        seeds = [attempt_seed(config.seed, -1 - number, 0) for number in range(len(self._asked))]
        found = self._yardstick.measure(model, model.generate(self._asked, seeds))
        seen = step * config.generator.images_a_step / len(self._material.private)
        points = sorted([*points, {"step": step, "seen": seen, **asdict(found)}], key=lambda point: int(point["step"]))
        self._kept = {**self._header, "points": points, "begins": self._begins(points)}
        write_private(self.path, canonical(self._kept))
        reports.render_curve(self.path)
        self._progress(f"checkpoint {in_words(points[-1])}", 0, 0)

    @property
    def every(self) -> int | None:
        """Steps between checkpoints, where they are configured."""
        return self._config.generator.curve.every

    @property
    def _generated(self) -> int:
        return self._config.generator.curve.images

    @property
    def _identity(self) -> dict[str, Any]:
        """What all points of one curve share. The training itself is checked by the generator's folder."""
        config, material = self._config, self._material
        return {
            "private": material.private.digest,
            "holdout": material.holdout.digest,
            "labels": material.labels_digest,
            "seed": config.seed,
            "settings": config.generator.curve.model_dump(mode="json"),
            "sampling": config.generator.sampling.model_dump(mode="json", exclude={"batch_size"}),
        }

    @cached_property
    def _looks(self) -> int:
        from generation.train import checkpoints

        return checkpoints(self._config.generator, self.every)

    @cached_property
    def _header(self) -> dict[str, Any]:
        if self._kept:
            return {name: value for name, value in self._kept.items() if name not in ("points", "begins")}
        split = membership.validity(
            self._material.private,
            split_holdout(self._material.holdout, self._config.seed),
            conditions=self._material.schema,
            config=self._config.audits.membership,
            seed=self._config.seed,
        )
        yardstick = self._yardstick
        return {
            "schema_version": SCHEMA_VERSION,
            "of": self._identity,
            "private_images": len(self._material.private),
            "looks": self._looks,
            "confidence": _CONFIDENCE,
            "generated": self._generated,
            "compared": {
                "private": len(yardstick.private),
                "holdout": len(yardstick.holdout),
                "neighbours": yardstick.neighbours,
            },
            "split": {"state": split.state, "reason": split.reason},
        }

    @cached_property
    def _yardstick(self) -> Yardstick:
        curve, material = self._config.generator.curve, self._material
        self._progress("prepare the curve", 0, 1)
        made = Yardstick.of(
            material.private,
            split_holdout(material.holdout, self._config.seed).reference,
            material.schema,
            images=curve.real,
            # Who watches looks many times, at two figures each: all intervals hold together with 95 %.
            confidence=confidence_of_each(self._looks, len(NULLS), _CONFIDENCE),
            seed=self._config.seed,
        )
        self._progress("prepare the curve", 1, 1)
        return made

    @cached_property
    def _asked(self) -> Any:
        """Conditions as private patients have them, the same at every checkpoint."""
        material = self._material
        patients = material.private.patients.tolist()
        return plan_conditions(material.private_conditions, patients, [Cell({}, self._generated)], self._config.seed)

    def _begins(self, points: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        # What tells private from holdout images without any model would tell them in both figures too.
        return None if self._header["split"]["state"] == "invalid" else begins(points)


def begins(points: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first checkpoint from which on a figure's interval stays above its null; None where neither does at the end."""
    firsts = {name: onset([point[name]["low"] for point in points], null) for name, null in NULLS.items()}
    found = {name: first for name, first in firsts.items() if first is not None}
    if not found:
        return None
    first = min(found.values())
    by = [name for name, place in found.items() if place == first]
    return {"step": points[first]["step"], "seen": points[first]["seen"], "by": by}


def judged(points: Sequence[Mapping[str, Any]]) -> Verdict:
    """Of the last checkpoint: "good" where no figure is beyond chance, "stop" where one is for the second time in a row."""
    beyond = [{name for name, null in NULLS.items() if point[name]["low"] > null} for point in points[-2:]]
    if not beyond[-1]:
        return "good"
    return "stop" if len(beyond) == 2 and beyond[0] & beyond[1] else "doubt"


def in_words(point: Mapping[str, Any]) -> str:
    """One checkpoint on a line."""
    said = [f"{point['step']:,}: each image seen {point['seen']:.3g} times"]
    for name, words in _FIGURES.items():
        value, low, high = (f"{100 * point[name][part]:.3g} %" for part in ("value", "low", "high"))
        beyond = ", beyond chance" if point[name]["low"] > NULLS[name] else ""
        said.append(f"{words} {value} ({low} to {high}){beyond}")
    return "; ".join(said)


_FIGURES = {"gap": "loss gap", "nearer": "generated images nearer to private"}


def curve_lines(folder: Path) -> list[str]:
    """What the curve of a training says at its end, for a terminal; nothing without one."""
    path = folder / "training" / "curve.json"
    if not path.is_file():
        return []
    return [reports.curve_summary(path), f"curve (private, do not pass on): {path.with_suffix('.html')}"]


def curve_of(folder: Path, material: Material) -> dict[str, Any] | None:
    """The curve of the training in a generator's folder; None where there is none or it is of other private images."""
    path = folder / "training" / "curve.json"
    found = read_json(path) if path.is_file() else {}
    of = found.get("of")
    return found if isinstance(of, dict) and of.get("private") == material.private.digest else None
