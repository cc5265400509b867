"""Flagged pairs, for the internal edition alone: candidate beside private image, with the difference."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reports.blocks import Block, Cell, Note, PairCard, Pairs, Picture, Section, Table
from reports.numbers import ABSENT, Numbers
from reports.pictures import pair_pixels, picture
from reports.runfolder import RunFolder, flag, mapping, number, rows, text
from reports.wording import LANES, MATCHES, transform_words

__all__ = ["flagged_rows", "pair_section"]

MOST_PICTURED = 150
_PNG_UP_TO = 60
_PLACE = re.compile(r"pairs/[A-Za-z0-9_-]{1,80}")
_PANELS = (("candidate", "Candidate"), ("private", "Private image"), ("difference", "Difference"), ("area", "Copied area"))


def flagged_rows(run: RunFolder) -> tuple[Mapping[str, Any], ...]:
    """Flagged candidates, accepted ones first, then by score; from images.parquet where the evidence lists none."""
    said = mapping(run.evidence.get("memorisation"))
    found = rows(said.get("flagged"))
    column = "memorisation.flagged"
    if not found and column in run.images:
        marked = run.images[run.images[column].eq(True).fillna(False)]
        found = tuple(
            {str(key).removeprefix("memorisation."): _scalar(value) for key, value in record.items()}
            for record in marked.to_dict("records")
        )
    return tuple(sorted(found, key=_gravity))


def pair_section(run: RunFolder) -> Section:
    """All flagged pairs, then the review list."""
    lead = (
        "Every candidate that the audit calls a copy, beside the private image it copies, turned and mirrored as the "
        "candidate is. The difference, after brightness and contrast were matched, is black where both agree. The copied "
        "area is outlined in the candidate, the rest of which is dimmed."
    )
    flagged = flagged_rows(run)
    flagged_files = {text(row.get("file")) for row in flagged}
    said = mapping(run.evidence.get("memorisation"))
    review = [row for row in rows(said.get("review")) if text(row.get("file")) not in flagged_files]
    blocks: list[Block] = []
    if not said and not flagged:
        blocks.append(Note("Not tested: this run holds no evidence on copies.", "absent"))
    elif not flagged:
        blocks.append(Note("No candidate was flagged as a copy.", "pass"))
    else:
        blocks.append(_pairs(run, flagged, 0, ""))
    if review:
        words = (
            "For review: candidates more alike to a private image than chance explains, at a false discovery rate of "
            "5\u00a0%, yet not verified as copies. They are not quarantined; people decide."
        )
        blocks += [Note(words), _pairs(run, sorted(review, key=_gravity), len(flagged), "review")]
    return Section("pairs", "Flagged pairs", lead, tuple(blocks))


def _pairs(run: RunFolder, found: Sequence[Mapping[str, Any]], start: int, lane: str) -> Pairs:
    pictured = [row for row in found if text(row.get("pair"))][:MOST_PICTURED]
    left = [row for row in found if not any(row is one for one in pictured)]
    small = len(pictured) > _PNG_UP_TO
    cards = tuple(_card(run, row, start + i, lane, small) for i, row in enumerate(pictured, start=1))
    return Pairs(cards, _rest(left, bool(cards)) if left else None)


def _card(run: RunFolder, row: Mapping[str, Any], count: int, lane: str, small: bool) -> PairCard:
    place = text(row.get("pair"))
    panels = pair_pixels(run.path, place) if _PLACE.fullmatch(place) else {}
    pictures: list[tuple[str, Picture | None]] = []
    for key, words in _PANELS:
        if key in panels:
            alt = f"{words} of pair {count}"
            if key == "area":
                alt += f": outlined in the candidate{_share(row, ', ')}; the rest is dimmed"
                words += _share(row, ": ")
            pictures.append((words, picture(panels[key], alt, small=small)))
        elif key != "area":
            pictures.append((words, None))
    exact = Numbers()
    return PairCard(
        number=count,
        anchor=f"pair-{count}",
        title=text(row.get("file")) or ABSENT,
        lane=LANES.get(lane or text(row.get("lane")), "flagged"),
        fate="accepted, would be released" if flag(row.get("accepted")) else "in quarantine",
        pictures=tuple(pictures),
        caption=_caption(row),
        facts=(
            ("Copies", text(row.get("nearest")) or ABSENT),
            ("Matched", _capital(_match(row))),
            ("Found as", _capital(_transform(row))),
            ("Copied area", exact.share(number(row.get("copied_area")))),
            ("Score", exact.plain(number(row.get("score")))),
            ("p-value", _p(row)),
        ),
    )


def _rest(found: Sequence[Mapping[str, Any]], more: bool) -> Table:
    exact = Numbers()
    return Table(
        caption=f"{len(found):,} {'more, ' if more else ''}without pictures",
        header=("Candidate", "Nearest private image", "Matched", "Found as", "Area", "Score", "p-value"),
        rows=tuple(
            (
                Cell(text(row.get("file"))),
                Cell(text(row.get("nearest"))),
                Cell(_capital(_match(row))),
                Cell(_capital(_transform(row))),
                Cell(exact.share(number(row.get("copied_area")))),
                Cell(exact.plain(number(row.get("score")))),
                Cell(_p(row)),
            )
            for row in found
        ),
        right=(4, 5, 6),
    )


def _caption(row: Mapping[str, Any]) -> str:
    """How the pair matched, in a sentence: "Moved: mirrored, turned 12 degrees; copied: 31 % of the area"."""
    said = ": ".join(words for words in (_match(row), _transform(row)) if words)
    return f"{_capital(said)}{_share(row, '; copied: ')}." if said else ""


def _share(row: Mapping[str, Any], before: str) -> str:
    """The share of the candidate that is copied, in words; nothing where it is not known."""
    value = number(row.get("copied_area"))
    return "" if value is None else f"{before}{Numbers().share(value)} of the area"


def _match(row: Mapping[str, Any]) -> str:
    """Which way the pair matched. An exact copy has the private image's frame, wherever else the search led."""
    lane = "framed" if text(row.get("lane")) == "exact" else text(row.get("match")).partition("-")[0]
    return MATCHES.get(lane, "")


def _transform(row: Mapping[str, Any]) -> str:
    name = text(row.get("transform"))
    return transform_words(name) or name


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:] if words else ABSENT


def _p(row: Mapping[str, Any]) -> str:
    value = number(row.get("p_value"))
    return ABSENT if value is None else f"{value:.2g}"


def _gravity(row: Mapping[str, Any]) -> tuple[bool, float, str]:
    return not flag(row.get("accepted")), -(number(row.get("score")) or 0.0), text(row.get("file"))


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
