"""Flagged pairs, for the internal edition alone: candidate beside private image, with the difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from reports.blocks import Block, Cell, Choice, Note, PairCard, Pairs, Picture, Section, Table
from reports.numbers import ABSENT, Numbers
from reports.pictures import Form, fitting, pair_pixels, picture
from reports.runfolder import RunFolder, flag, mapping, number, rows, text
from reports.wording import LANES, MATCHES, transform_words

__all__ = ["flagged_rows", "pair_section"]

ROOM = 6_500_000
"""Characters that the pictures of all pairs may take: a page of 1,000 pairs stays under 10 MB."""
MOST_PICTURED = 1000
_LOOKED_AT = 6
_AT_A_TIME = 2
_FEWEST_TO_CHOOSE = 4
_Pictures = tuple[tuple[str, Picture | None], ...]
_PANELS = (("candidate", "Candidate"), ("private", "Private image"), ("difference", "Difference"), ("area", "Copied area"))


_LANE_MARKS = ("exact", "verified")
_FILTERS = (
    ("fate", "Fate", (("let-through", "Would be released"), ("held-back", "In quarantine"))),
    ("lane", "Finding", tuple((lane, LANES[lane][:1].upper() + LANES[lane][1:]) for lane in _LANE_MARKS)),
    ("match", "Matched", tuple((match, words[:1].upper() + words[1:]) for match, words in MATCHES.items())),
)
_VIEWS = (("beside", "Side by side", None), ("over", "One over the other", None))
_AS_GIVEN = ("grave", "Gravest first", None)


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


def copied_images(run: RunFolder) -> int:
    """How many private images the flagged candidates are copies of."""
    return len({text(row.get("nearest")) for row in flagged_rows(run)} - {""})


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
    review.sort(key=_gravity)
    form = _form(run, [*flagged, *review])
    blocks: list[Block] = []
    if not said and not flagged:
        blocks.append(Note("Not tested: this run holds no evidence on copies.", "absent"))
    elif not flagged:
        blocks.append(Note("No candidate was flagged as a copy.", "pass"))
    else:
        blocks.append(_pairs(run, flagged, 0, "", form, ROOM))
    if review:
        words = (
            "For review: candidates more alike to a private image than chance explains, at a false discovery rate of "
            "5\u00a0%, yet not verified as copies. They are not quarantined; people decide."
        )
        left = ROOM - sum(_length(card.pictures) for block in blocks if isinstance(block, Pairs) for card in block.cards)
        blocks += [Note(words), _pairs(run, review, len(flagged), "review", form, left)]
    return Section("pairs", "Flagged pairs", lead, tuple(blocks))


def _form(run: RunFolder, found: Sequence[Mapping[str, Any]]) -> Form:
    """The best form in which the pictures of all pairs fit, as some of them, evenly apart, tell."""
    pictured = [row for row in found if text(row.get("pair"))][:MOST_PICTURED]
    some = pictured[:: max(1, len(pictured) // _LOOKED_AT)]
    panels = [panel for row in some for panel in pair_pixels(run.path, text(row.get("pair"))).values()]
    return fitting(panels, len(_PANELS) * len(pictured), ROOM)


def _length(pictures: _Pictures) -> int:
    return sum(len(one.uri) for _, one in pictures if one is not None)


def _pairs(run: RunFolder, found: Sequence[Mapping[str, Any]], start: int, lane: str, form: Form, room: int) -> Pairs:
    """Cards with pictures as long as there is room, and a table of the rest."""
    pictured = [row for row in found if text(row.get("pair"))][:MOST_PICTURED]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:  # pictures are read and written outside the interpreter's lock
        made = list(pool.map(lambda row: _pictures(run, row, form), pictured))
    cards: list[PairCard] = []
    shown: list[Mapping[str, Any]] = []
    for row, pictures in zip(pictured, made, strict=True):
        length = _length(pictures)
        if length <= room:
            room -= length
            cards.append(_card(row, start + len(cards) + 1, lane, pictures))
            shown.append(row)
    there = {id(row) for row in shown}
    left = [row for row in found if id(row) not in there]
    name = lane or "flagged"
    rest = _rest(left, bool(cards)) if left else None
    view = Choice("Pictures", f"{name}-view", _VIEWS)
    if len(cards) < _FEWEST_TO_CHOOSE:
        return Pairs(tuple(cards), rest, (view,) if cards else ())
    ranks = zip(*(_ranks(shown, key) for _, _, key in _ORDERS), strict=True)
    ranked = tuple(replace(card, ranks=place) for card, place in zip(cards, ranks, strict=True))
    order = Choice("Order", f"{name}-order", (_AS_GIVEN, *((value, words, None) for value, words, _ in _ORDERS)))
    return Pairs(ranked, rest, (*_filters(name, cards), order, view), tuple(value for value, _, _ in _ORDERS))


def _filters(name: str, cards: Sequence[PairCard]) -> Iterable[Choice]:
    """What cards differ by, where they do."""
    counts = Counter(mark for card in cards for mark in card.marks)
    for key, legend, options in _FILTERS:
        there = tuple((value, words, counts[value]) for value, words in options if counts[value])
        if len(there) > 1:
            yield Choice(legend, f"{name}-{key}", (("all", "All", len(cards)), *there))


def _ranks(found: Sequence[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], Any]) -> list[int]:
    """The place of each row in the order of a key; equal ones as they stand."""
    places = [0] * len(found)
    for place, row in enumerate(sorted(range(len(found)), key=lambda row: key(found[row]))):
        places[row] = place
    return places


def _marks(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Words of our own that the style sheet knows."""
    lane, match = text(row.get("lane")), _lane_of_match(row)
    kept = (lane if lane in _LANE_MARKS else "", match if match in MATCHES else "")
    return ("let-through" if flag(row.get("accepted")) else "held-back", *(mark for mark in kept if mark))


def _pictures(run: RunFolder, row: Mapping[str, Any], form: Form) -> _Pictures:
    """The panels of a pair under their titles; None for those that were not stored, but for the area."""
    panels = pair_pixels(run.path, text(row.get("pair")))
    found: list[tuple[str, Picture | None]] = []
    for key, words in _PANELS:
        if key in panels:
            alt = words
            if key == "area":
                alt += f": outlined in the candidate{_share(row, ', ')}; the rest is dimmed"
                words += _share(row, ": ")
            found.append((words, picture(panels[key], alt, form)))
        elif key != "area":
            found.append((words, None))
    return tuple(found)


def _card(row: Mapping[str, Any], count: int, lane: str, pictures: _Pictures) -> PairCard:
    exact = Numbers()
    return PairCard(
        number=count,
        anchor=f"pair-{count}",
        title=text(row.get("file")) or ABSENT,
        lane=LANES.get(lane or text(row.get("lane")), "flagged"),
        fate="accepted, would be released" if flag(row.get("accepted")) else "in quarantine",
        pictures=tuple((words, _of_pair(one, count)) for words, one in pictures),
        caption=_caption(row),
        facts=(
            ("Copies", text(row.get("nearest")) or ABSENT),
            ("Matched", _capital(_match(row))),
            ("Found as", _capital(_transform(row))),
            ("Copied area", exact.share(number(row.get("copied_area")))),
            ("Score", exact.plain(number(row.get("score")))),
            ("p-value", _p(row)),
        ),
        marks=_marks(row),
    )


def _of_pair(one: Picture | None, count: int) -> Picture | None:
    """With the pair's number in what it shows."""
    if one is None:
        return None
    what, colon, more = one.alt.partition(":")
    return replace(one, alt=f"{what} of pair {count}{colon}{more}")


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
    return MATCHES.get(_lane_of_match(row), "")


def _lane_of_match(row: Mapping[str, Any]) -> str:
    return "framed" if text(row.get("lane")) == "exact" else text(row.get("match")).partition("-")[0]


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


_ORDERS: tuple[tuple[str, str, Callable[[Mapping[str, Any]], Any]], ...] = (
    ("area", "Largest copied area", lambda row: -(number(row.get("copied_area")) or 0.0)),
    ("source", "Private image", lambda row: text(row.get("nearest"))),
    ("file", "Candidate", lambda row: text(row.get("file"))),
)
"""What the list can be put in the order of: a word of our own that the style sheet knows, words to show, and the key."""
