"""The internal edition: everything the run folder holds, for the people who decide. It is private data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import evidence, sections
from reports.blocks import Block, Cell, Facts, Note, Section, Table, Tile
from reports.checks import check_facts, checks_table, metric_facts
from reports.exposed import classes, exposed
from reports.flat import flat
from reports.governed import approval_section, policy_section, signers
from reports.numbers import Numbers
from reports.outliers import class_section
from reports.overview import (
    Tested,
    audits_with_evidence,
    headline,
    limits_of_claim,
    link_unverified,
    next_step,
    not_tested,
    overview,
    tested,
    tiles,
)
from reports.pairs import copied_images, pair_section
from reports.readers import review_section
from reports.reasons import Reason, leading
from reports.runfolder import RunFolder, flag, ledger_head, mapping, rows, text, whole
from reports.samples import sample_section
from reports.study import study_section
from reports.wording import with_titles
from synguard.results import Decision

__all__ = ["InternalView", "build"]


@dataclass(frozen=True, slots=True)
class InternalView:
    """All that the internal page shows."""

    edition: str
    title: str
    status: str
    headline: str
    reasons: tuple[Reason, ...]
    next_step: str
    tiles: tuple[Tile, ...]
    tested: tuple[Tested, ...]
    not_tested: tuple[str, ...]
    limits: tuple[str, ...]
    stamp: tuple[tuple[str, str], ...]
    checks: Table
    sections: tuple[Section, ...]


def build(run: RunFolder) -> InternalView:
    """The internal edition of a run."""
    exact = Numbers()
    checks, metrics, audits = check_facts(run), metric_facts(run), audits_with_evidence(run)
    copies = evidence.copies(run.evidence)
    view = overview(
        run.decision.status,
        run.decision.exit_code,
        checks,
        metrics,
        sight=sections.sight(copies),
        link_unverified=link_unverified(run),
    )
    return InternalView(
        edition="internal",
        title=text(mapping(run.run.get("config")).get("name")) or text(run.run.get("id")) or "run",
        status=run.decision.status,
        headline=headline(view, checks, exact),
        reasons=leading(checks, lambda check: check.reason or check.title) or _as_decided(run.decision),
        next_step=next_step(view, signers(run)),
        tiles=tiles(metrics, view, exact, copied_images(run)),
        tested=tested(metrics, audits, view, exact),
        not_tested=not_tested(metrics, audits),
        limits=limits_of_claim(view, exact),
        stamp=_stamp(run),
        checks=checks_table(checks, exact),
        sections=(
            pair_section(run),
            review_section(run),
            *study_section(run),
            sections.copies(copies, exact, metrics),
            sections.membership(evidence.membership(run.evidence), exact, view.split_invalid),
            *sections.epsilon(evidence.epsilon(run.evidence), exact),
            sections.disclosure(evidence.disclosure(run.evidence), exact, exposed(run)),
            sections.autoencoder(evidence.autoencoder(run.evidence), exact),
            *sections.training(evidence.curve(mapping(mapping(run.evidence.get("training")).get("curve"))), exact),
            sections.labels(evidence.labels(run.evidence), exact),
            sections.fidelity(evidence.fidelity(run.evidence), exact),
            class_section(run),
            sample_section(run, public=False),
            sections.quarantine(evidence.batches(run.evidence, run.images), exact),
            _data(run),
            policy_section(run),
            approval_section(run),
            sections.words(),
            _reproduction(run),
        ),
    )


def _as_decided(decision: Decision) -> tuple[Reason, ...]:
    return tuple(Reason(decision.status, with_titles(reason)) for reason in decision.reasons)


def _stamp(run: RunFolder) -> tuple[tuple[str, str], ...]:
    found = (
        ("Run", text(run.run.get("id"))),
        ("Finished", text(run.run.get("finished")) or text(run.run.get("started"))),
        ("Exit code", str(run.decision.exit_code)),
        ("Manifest", _digest(run, "manifest.json")[:16]),
        ("Ledger", ledger_head(run)),
    )
    return tuple((name, value) for name, value in found if value)


def _data(run: RunFolder) -> Section:
    lead = "What went in, and whether the same image or patient is on both sides of the comparison."
    memorisation = mapping(run.evidence.get("memorisation"))
    calibration = mapping(memorisation.get("calibration"))
    data = mapping(run.evidence.get("data"))
    shared = {key: data[key] for key in ("overlap", "near_copies", "duplicates", "skipped") if key in data}
    blocks: list[Block] = []
    for title, items in (
        ("Images", {key: value for key, value in data.items() if key not in shared} or mapping(run.run.get("data"))),
        ("Overlap and duplicates", shared or mapping(memorisation.get("overlap"))),
        ("Calibration on the holdout", {key: value for key, value in calibration.items() if key != "classes"}),
        ("Index", mapping(memorisation.get("index"))),
        ("Diagnostic model", mapping(mapping(run.evidence.get("labels")).get("model"))),
    ):
        if items:
            blocks.append(Facts(flat(items), title))
        elif title == "Overlap and duplicates":
            blocks.append(Note("Not tested: this run holds no evidence on overlap and duplicates.", "absent"))
    if by_class := rows(calibration.get("classes")):
        blocks.append(_by_class(by_class, whole(calibration.get("images"))))
    blocks += classes(run)
    return Section("data", "Data", lead, tuple(blocks))


def _by_class(classes: Sequence[Mapping[str, Any]], images: int | None) -> Table:
    """Which calibration images the p-values are of, class by class."""
    exact = Numbers()
    fallback = f"all {exact.count(images)} calibration images, since the class has too few"
    return Table(
        "P-values by class of the private image that is matched. A class with too few calibration images falls back to "
        "all; its p-values hold over all classes together, not within it.",
        ("Class", "Calibration images", "P-values from"),
        tuple(
            (
                Cell(text(row.get("class")) or "none or missing"),
                Cell(exact.count(whole(row.get("images")))),
                Cell("those of the class" if flag(row.get("own_p_values")) else fallback),
            )
            for row in classes
        ),
        right=(1,),
    )


def _reproduction(run: RunFolder) -> Section:
    lead = "What is needed to do it again and to verify that nothing was changed since."
    command = run.run.get("command") or run.run.get("argv")
    line = (
        " ".join(text(part) for part in command)
        if isinstance(command, Sequence) and not isinstance(command, str)
        else text(command)
    )
    seed = mapping(run.run.get("config")).get("seed", run.run.get("seed"))
    first = (
        ("Command", line),
        ("Seed", text(seed)),
        ("State", text(run.run.get("state"))),
        ("Configuration sha256", text(run.run.get("config_sha256")) or text(run.run.get("config_digest"))),
        *(
            (f"{name} sha256", _digest(run, name))
            for name in ("manifest.json", "results.json", "images.parquet", "evidence.json")
        ),
    )
    blocks: list[Block] = [Facts(tuple((k, v) for k, v in first if v), code=True)]
    for key, title in (
        ("versions", "Versions"),
        ("timings", "Seconds per phase"),
        ("seeds", "Seeds"),
        ("config", "Configuration"),
    ):
        items = mapping(run.run.get(key))
        if items:
            blocks.append(Facts(flat(items), title, code=True))
    return Section("reproduction", "Reproduction", lead, tuple(blocks))


def _digest(run: RunFolder, name: str) -> str:
    path = run.path / name
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
