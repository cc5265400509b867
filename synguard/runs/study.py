"""`synguard review --study`: the plan of a reader study on a finished run, its readers here and elsewhere, its results.

The real images are those of the run's holdout, one a patient, without any that the audit found near a private one. Images
of the private set are never shown: a study must not carry the very patients out of the house whom the audit protects, and
the fair question is whether candidates look like photographs that the generator has not seen.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import reports
from synguard.config import AttributeConfig, DataSource
from synguard.data.conditions import ConditionSchema
from synguard.data.decode import decode_image
from synguard.data.images import ImageSet
from synguard.data.readers import read_images
from synguard.data.released import released_name
from synguard.errors import InputError, IntegrityError
from synguard.governance import manifest
from synguard.governance.files import canonical, private_folder, read_json, write_private
from synguard.governance.ledger import Ledger
from synguard.governance.ledger.place import Where
from synguard.governance.record import RunRecord, read_run, verify_results
from synguard.protocols import Images
from synguard.review.decisions import reader_id
from synguard.review.pictures import plain_png
from synguard.review.study import answers as said
from synguard.review.study.draw import Side, draw
from synguard.review.study.exchange import LARGEST_TABLE, parse_table, write_export
from synguard.review.study.plan import (
    FOLDER,
    KIND,
    PICTURES,
    Condition,
    Item,
    Plan,
    Terms,
    item_name,
    pixel_digest,
    read_plan,
    recorded,
)
from synguard.review.study.results import Results, results
from synguard.review.study.session import StudySession
from synguard.runs.decided import book_of
from synguard.runs.folder import RunFolder, whole_folder
from synguard.runs.reading import Reading, reading, require_extra

__all__ = ["Study", "open_study"]

EXPORTED = "study-export"
_STREAM = 0x57D1


@dataclass(frozen=True, slots=True)
class _Drawn:
    """One image that was drawn, before it has its name."""

    pixels: Images
    real: bool
    file: str
    levels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Study:
    """The study of a run. Each of its methods does one thing that the command line offers."""

    run: Path
    record: RunRecord
    book: Ledger

    def fix(self, terms: Terms, holdout: str | None = None) -> Plan:
        """The plan with these terms, drawn and recorded now, or the one there, if it has them.

        `holdout` is where the run's holdout lies by now, by default where it lay. Raises IntegrityError where the plan there
        has other terms, or the holdout is another; InputError where it cannot be read, or has too few patients.
        """
        there = read_plan(self.run, self.record.id, self.book)
        if there is None:
            self._write(self._drawn(terms, holdout), terms)
            return self.plan()
        if there.terms != terms:
            raise IntegrityError(f"{self.run}: found a study of {_told(there.terms)}, expected the same: its plan is fixed")
        return there

    def plan(self) -> Plan:
        """The plan that was fixed. InputError where there is none."""
        found = read_plan(self.run, self.record.id, self.book)
        if found is None:
            raise InputError.of(
                self.run, "no plan of a study", "--study-images, --readers and --margin, before anybody reads"
            )
        return found

    def page(self, reviewer: str, *, host: str, port: int) -> Reading:
        """The page of one reader."""
        require_extra()
        from synguard.review.study.page import server

        session = StudySession(self.run, self.plan(), reviewer, self.book)
        if not (self.run / FOLDER / PICTURES).is_dir():
            raise InputError.of(self.run, "no pictures of the study", "a run that was not purged")
        return reading(lambda titles, names: server(session, titles, names), self.record, reviewer, host=host, port=port)

    def export(self, reviewer: str, out: Path) -> int:
        """Writes a reader's images and blank table into a new folder; how many images. That they left is in the ledger."""
        plan, reader = self.plan(), reader_id(reviewer)
        if out.exists():
            raise InputError.of(out, "something that exists already", "a new folder for one reader")
        with whole_folder(out) as scratch:
            write_export(scratch, self.run, plan, reader)
            # Before the folder has its name: images of patients never leave unrecorded.
            self.book.append(EXPORTED, {"run": plan.run, "plan": plan.digest, "reviewer": reviewer})
        return len(plan.items)

    def take_back(self, reviewer: str, table: Path) -> int:
        """Writes all answers of a table into the ledger, or none where anything is wrong; how many were new.

        A table that was taken before changes nothing. Raises InputError for a table with a fault, or where the reader has
        answered otherwise by now.
        """
        plan, reader = self.plan(), reader_id(reviewer)
        given = parse_table(_read_table(table), str(table), plan, reader)
        own = said.standing(self._answers(plan)).get(reader, {})
        for item, answer in given:
            if item.id in own and own[item.id].given != answer:
                found = f"another answer on an image than {reviewer!r} has given already"
                raise InputError.of(table, found, "the same, or a reader who has not answered")
        new = [(item, answer) for item, answer in given if item.id not in own]
        if new and reader in said.closed(self.book.entries(said.CLOSED, plan.run)):
            raise InputError.of(table, f"new answers of {reviewer!r}, from whose answers results were made", "none")
        for item, answer in new:
            self.book.append(said.KIND, said.payload(plan, reviewer, item.id, answer))
        return len(new)

    def results(self) -> Results:
        """The results by now, written beside the plan and into the internal report.

        From then on readers who finished can change no answer.
        """
        plan = self.plan()
        answers = self._answers(plan)
        found = results(plan, answers)
        at = next(row.at for row in self.book.entries(KIND, plan.run))
        data = canonical({"schema_version": 1, "fixed": at, **asdict(found)})
        done = sorted(said.finished(plan, answers))
        digest = hashlib.sha256(data).hexdigest()
        self.book.append_once(said.CLOSED, {"run": plan.run, "plan": plan.digest, "results": digest, "readers": done})
        write_private(self.run / FOLDER / "results.json", data)
        reports.render(self.run, "internal")
        return found

    def _answers(self, plan: Plan) -> tuple[said.Answer, ...]:
        return said.read_answers(plan, self.book.entries(said.KIND, plan.run))

    def _drawn(self, terms: Terms, holdout: str | None) -> tuple[_Drawn, ...]:
        """The images of the plan, real ones first. The run's own seed chooses, so nobody can draw until it suits."""
        schema = _schema(self.record)
        real, accepted = self._holdout(holdout), self._accepted()
        levels = schema.discrete
        truth = schema.parse(real.metadata, "holdout")
        asked = schema.parse(accepted, "images.parquet")
        first = levels[0].name if levels else ""
        rng = np.random.default_rng([self.record.config["seed"], _STREAM])
        rows = draw(
            Side((real.patients.tolist(), real.sha256), _classes(truth, schema, first)),
            Side((accepted["sha256"].tolist(),), _classes(asked, schema, first)),
            terms.images,
            rng,
        )
        files = accepted["file_name"].tolist()
        return (
            *(_Drawn(real.pixels[row], True, real.files[row], _levels(truth, schema, row)) for row in rows[0]),
            *(_Drawn(self._decoded(files[row]), False, files[row], _levels(asked, schema, row)) for row in rows[1]),
        )

    def _holdout(self, named: str | None) -> ImageSet:
        """The holdout as the run had it, without what it shares with the private set or nearly does."""
        config, recorded_at = self.record.config, self.record.config["holdout"]["path"]
        source = DataSource(**(config["holdout"] | {"path": named or recorded_at}))
        skip = bool(config.get("skip_unreadable"))
        try:
            images = read_images(source, size=config["image_size"], name="holdout", skip_unreadable=skip)
        except InputError as error:
            if named is not None:
                raise
            raise InputError(f"{error} (--holdout says where the run's holdout lies by now)") from error
        evidence = read_json(self.run / "evidence.json")["data"]
        overlap = evidence["overlap"]
        kinds = [kind for kind in ("same_patient", "same_bytes", "same_pixels") if overlap.get("counts", {}).get(kind)]
        if missing := [kind for kind in kinds if len(overlap[kind]) < overlap["counts"][kind]]:
            found = f"more images of the private set too ({overlap['counts'][missing[0]]:,}) than the run's evidence names"
            raise InputError.of("holdout", found, "a run whose two sets are apart")
        shared = {pair["holdout"] for kind in kinds for pair in overlap[kind]}
        clean = _without(images, shared)
        if clean.digest != verify_results(self.run)["data"]["holdout"]["sha256"]:
            raise IntegrityError(f"{source.path}: found other images than the run's holdout, expected the very same")
        return _without(clean, {copy["file"] for copy in evidence["near_copies"]})

    def _accepted(self) -> pd.DataFrame:
        """What was asked of each accepted image, with its file name and digest."""
        manifest.verify(self.run / "accepted", manifest.read(self.run / "manifest.json"))
        rows = pd.read_parquet(RunFolder(self.run).images)
        rows = rows[rows["accepted"]].reset_index(drop=True)
        return rows.rename(columns=lambda name: name.removeprefix("condition.")).assign(file_name=rows["file"])

    def _decoded(self, file: str) -> Images:
        path = self.run / "accepted" / released_name(file)
        return decode_image(path.read_bytes(), size=self.record.config["image_size"], where=str(path))

    def _write(self, drawn: Sequence[_Drawn], terms: Terms) -> None:
        """Pictures and plan, and then the plan's entry in the ledger: without it nothing is shown."""
        schema, key = _schema(self.record), secrets.token_hex(32)
        # The key's order, not the draw's: neither places nor names of pictures say which side one is of.
        order = np.random.default_rng(int(key, 16)).permutation(len(drawn))
        items = []
        private_folder(self.run / FOLDER)
        shutil.rmtree(self.run / FOLDER / PICTURES, ignore_errors=True)  # of a plan that was never recorded
        with whole_folder(self.run / FOLDER / PICTURES) as scratch:
            for number, row in enumerate(order.tolist()):
                one = drawn[row]
                write_private(scratch / f"{number:05d}.png", plain_png(one.pixels))
                name, digest = item_name(key, number, one.pixels), pixel_digest(one.pixels)
                items.append(Item(name, digest, f"{number:05d}", one.real, one.file, one.levels))
        plan = Plan(
            run=self.record.id,
            terms=terms,
            size=self.record.config["image_size"],
            seed=self.record.config["seed"],
            key=key,
            balanced=schema.discrete[0].name if schema.discrete else "",
            conditions=tuple(Condition(a.name, schema.levels(a.name)) for a in schema.discrete),
            items=tuple(items),
        )
        write_private(self.run / FOLDER / "plan.json", plan.to_bytes())
        self.book.append(KIND, recorded(plan))


def open_study(run: Path, ledger: Where = None) -> Study:
    """The study of a finished run. Raises as `book_of` does."""
    book = book_of(run, ledger)
    return Study(run, read_run(run), book)


def _schema(record: RunRecord) -> ConditionSchema:
    return ConditionSchema(tuple(AttributeConfig(**row) for row in record.config.get("conditions", ())))


def _classes(frame: pd.DataFrame, schema: ConditionSchema, name: str) -> list[str]:
    """The level of a condition by row, "" where it is missing or there is no condition."""
    return [_level(frame, schema, name, row) for row in range(len(frame))] if name else [""] * len(frame)


def _levels(frame: pd.DataFrame, schema: ConditionSchema, row: int) -> dict[str, str]:
    found = {one.name: _level(frame, schema, one.name, row) for one in schema.discrete}
    return {name: level for name, level in found.items() if level}


def _level(frame: pd.DataFrame, schema: ConditionSchema, name: str, row: int) -> str:
    value: Any = frame[name].iloc[row]
    if pd.isna(value):
        return ""
    return schema.levels(name)[int(value)] if schema.attribute(name).kind == "binary" else str(value)


def _without(images: ImageSet, files: set[str]) -> ImageSet:
    rows = np.array([row for row, file in enumerate(images.files) if file not in files], dtype=np.int64)
    return replace(images) if len(rows) == len(images) else images.take(rows)


def _told(terms: Terms) -> str:
    return f"{terms.images:,} images a side, {terms.readers} readers and a margin of {terms.margin:g}"


def _read_table(path: Path) -> bytes:
    if not path.is_file():
        raise InputError.of(path, "a folder" if path.is_dir() else "nothing", "the table that a reader sent back")
    with path.open("rb") as stream:
        return stream.read(LARGEST_TABLE + 1)
