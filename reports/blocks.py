"""The pieces that a page is put together from. They hold text and drawings ready to show, never evidence."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

__all__ = [
    "Block",
    "Cell",
    "Choice",
    "Facts",
    "Figure",
    "Figures",
    "Matrices",
    "Matrix",
    "Note",
    "PairCard",
    "Pairs",
    "Picture",
    "Sample",
    "SampleRow",
    "Samples",
    "Section",
    "Table",
    "Tile",
]


@dataclass(frozen=True, slots=True)
class Picture:
    """An embedded picture: a data URI, what it shows, and its side in pixels as stored."""

    uri: str
    alt: str
    side: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: text, a second line under it, or a drawing. `status` shows a sign and a word."""

    text: str = ""
    under: str = ""
    drawing: Markup | None = None
    status: str = ""
    code: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a header row; the first cell of each row is its header. `right` columns hold figures."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: tuple[int, ...] = ()
    key: str = ""
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with what it says in words."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Drawings side by side."""

    items: tuple[Figure, ...]
    kind: str = "figures"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion: `cells` are the text and a shade from 0 to 10."""

    title: str
    levels: tuple[str, ...]
    cells: tuple[tuple[tuple[str, int], ...], ...]
    rows_are: str


@dataclass(frozen=True, slots=True)
class Matrices:
    """Confusions side by side."""

    title: str
    items: tuple[Matrix, ...]
    kind: str = "matrices"


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and their values."""

    items: tuple[tuple[str, str], ...]
    title: str = ""
    code: bool = False
    kind: str = "facts"


@dataclass(frozen=True, slots=True)
class Note:
    """A paragraph. `tone` is plain, absent (not tested) or a status."""

    text: str
    tone: str = "plain"
    kind: str = "note"


@dataclass(frozen=True, slots=True)
class PairCard:
    """One flagged candidate beside the private image it is like; `caption` says in words how.

    `marks` are what it can be chosen by, words of our own; `ranks` its places in the orders that the list can be put in.
    """

    number: int
    anchor: str
    title: str
    lane: str
    fate: str
    pictures: tuple[tuple[str, Picture | None], ...]
    caption: str
    facts: tuple[tuple[str, str], ...]
    marks: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several things can be chosen, the first to begin with: each a word of our own, words to show, and how many."""

    legend: str
    name: str
    options: tuple[tuple[str, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Flagged pairs, and how they can be filtered and sorted; `rest` are those that are listed without pictures."""

    cards: tuple[PairCard, ...]
    rest: Table | None = None
    choices: tuple[Choice, ...] = ()
    orders: tuple[str, ...] = ()
    kind: str = "pairs"


@dataclass(frozen=True, slots=True)
class Sample:
    """An accepted image, and inside the house the private image nearest to it, with its name."""

    picture: Picture
    nearest: Picture | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """Accepted images of one class."""

    title: str
    under: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """The sample sheet."""

    rows: tuple[SampleRow, ...]
    kind: str = "samples"


Block = Facts | Figures | Matrices | Note | Pairs | Samples | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading of its own."""

    id: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A key number on the first screen."""

    label: str
    value: str
    under: str
    tone: str = ""
