"""References of a page: numbered in the order in which the text names them, each listed once."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

from neurodyn.report.blocks import Cited

DOI = re.compile(r"10\.\d{4,9}/\S+")


class References:
    """Gathers sources while the page is written."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self.listed: list[str] = []

    def cite(self, sentence: str | Cited) -> Markup:
        """Return a sentence for the page, the numbers of its sources before its full stop."""
        if isinstance(sentence, str):
            return escape(sentence)
        marks = self.marks(sentence.sources)
        if not marks:
            return escape(sentence.text)
        body, stop = (sentence.text[:-1], ".") if sentence.text.endswith(".") else (sentence.text, "")
        return escape(body) + Markup("&nbsp;") + marks + stop

    def marks(self, sources: Iterable[str]) -> Markup:
        """Return the numbers of sources in brackets, as links into the list; nothing where there is no source."""
        numbers = sorted({self._number(source) for source in sources if source})
        links = Markup(", ").join(Markup('<a href="#ref-{0}">{0}</a>').format(number) for number in numbers)
        return Markup("[") + links + "]" if numbers else Markup("")

    def _number(self, source: str) -> int:
        """Return a source's number; two entries with one DOI are one source."""
        doi = DOI.search(source)
        key = doi[0].rstrip(".,;").casefold() if doi else " ".join(source.casefold().split()).rstrip(".")
        if key not in self._numbers:
            self.listed.append(source)
            self._numbers[key] = len(self.listed)
        return self._numbers[key]
