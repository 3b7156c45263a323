"""What a report is made of: paragraphs, tables and figures in sections, sections in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote


@dataclass(frozen=True)
class Text:
    """A paragraph; `missing` marks one that says what is not there."""

    kind: ClassVar[str] = "text"
    text: str
    missing: bool = False


@dataclass(frozen=True)
class Cited:
    """A sentence that rests on sources; the page marks it with their numbers.

    Parameters
    ----------
    text
        The sentence, with its full stop.
    sources
        References, "" for none.
    """

    text: str
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Items:
    """A list.

    Parameters
    ----------
    items
        One paragraph each.
    ordered
        Whether their order means something.
    """

    kind: ClassVar[str] = "items"
    items: Sequence[str | Cited]
    ordered: bool = False


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads somewhere.

    Parameters
    ----------
    text
        What it says.
    path
        A file, relative to the page, or a place on the page: #NAME.
    name
        What others on the page call its cell; "" where none does.
    """

    text: str
    path: str
    name: str = ""

    @property
    def address(self) -> str:
        """The path as an address."""
        return quote(self.path, safe="/#") if self.path.startswith("#") else quote(self.path)


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    caption
        What it shows.
    header
        Column names, units included.
    rows
        Cells as text or links.
    numeric
        Columns aligned at the right.
    notes
        Footnotes below it.
    small
        Set in smaller type, for configuration and checksums.
    """

    kind: ClassVar[str] = "table"
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Link]]
    numeric: frozenset[int] = frozenset()
    notes: Sequence[str] = ()
    small: bool = False


@dataclass(frozen=True)
class Mark:
    """A job in a cell of a grid.

    Parameters
    ----------
    state
        What became of it, one of the legend's words.
    link
        Its name, with or without what it made.
    more
        Where else it leads.
    """

    state: str
    link: str | Link
    more: Sequence[Link] = ()


@dataclass(frozen=True)
class Grid:
    """Jobs by row and column.

    Parameters
    ----------
    caption
        What it shows.
    legend
        State -> the letter that stands for it.
    header
        Column names, that of the rows' titles first.
    rows
        Title, which may lead somewhere, and the marks in each column.
    """

    kind: ClassVar[str] = "grid"
    caption: str
    legend: Mapping[str, str]
    header: Sequence[str]
    rows: Sequence[tuple[str | Link, Sequence[Sequence[Mark]]]]


@dataclass(frozen=True)
class Figure:
    """An image, embedded.

    Parameters
    ----------
    uri
        "data:" address with the image's bytes.
    alt
        What it shows, for those who cannot see it.
    caption
        What it shows and how to read it.
    link
        Where it leads, under what words; None where it does not.
    """

    kind: ClassVar[str] = "figure"
    uri: str
    alt: str
    caption: str
    link: Link | None = None


Block = Text | Items | Table | Grid | Figure


@dataclass(frozen=True)
class Section:
    """A titled run of blocks.

    Parameters
    ----------
    title
        Above it.
    blocks
        In reading order.
    folded
        Whether the reader has to open it: for what is looked up, not read.
    """

    title: str
    blocks: Sequence[Block]
    folded: bool = False


@dataclass(frozen=True)
class Part:
    """One run, recording or table of scores.

    Parameters
    ----------
    title, subtitle
        What it is.
    summary
        The result in plain words, one sentence each.
    sections
        In reading order.
    missing
        What could not be shown, and how to make it.
    methods
        Sentences for a methods section.
    references
        Sources of the whole part, beside those that its sentences name.
    """

    title: str
    subtitle: str
    summary: Sequence[str] = ()
    sections: Sequence[Section] = ()
    missing: Sequence[str] = ()
    methods: Sequence[str | Cited] = ()
    references: Sequence[str] = ()


def number(value: float, digits: int = 3) -> str:
    """Return a number for a table: fixed digits, a true minus sign, a dash where there is none."""
    if value != value:
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """Return a p value for a table, a dash where there is none."""
    return "< 0.001" if p < 0.001 else number(p)


def interval(low: float, high: float, digits: int = 3) -> str:
    """Return an interval for a table, or nothing where there is none."""
    return "" if low != low else f"[{number(low, digits)}, {number(high, digits)}]"


def short(value: float) -> str:
    """Return a number with three significant digits, or three decimals where that says more; a dash where there is none."""
    if value != value:
        return "–"
    return number(value) if abs(value) >= 0.1 or value == 0 else f"{value:.3g}".replace("-", "−")


def short_interval(low: float, high: float) -> str:
    """Return an interval whose ends are as `short`, or nothing where there is none."""
    return interval(low, high) if max(abs(low), abs(high)) >= 0.1 or low != low else f"[{short(low)}, {short(high)}]"
