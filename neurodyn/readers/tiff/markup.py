"""XML that acquisition programs write beside or into their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from neurodyn.core.errors import DataError


def parse(path: Path, text: str) -> ElementTree.Element:
    """Return the root of XML text found in, or beside, a file.

    Raises
    ------
    DataError
        If it is no XML, or defines entities, which no such program does.
    """
    try:
        if "<!ENTITY" in text:
            raise ValueError("it defines entities")
        return ElementTree.fromstring(text)  # noqa: S314  (no entities: nothing to expand or to fetch)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"The XML of {path} cannot be read.", f"{error}.", "Copy the file again.") from error


def parse_file(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises
    ------
    DataError
        If it is none.
    """
    text = path.read_bytes().decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t")
    if text.startswith("<?xml"):  # decoded already: what it says of its encoding no longer holds
        text = text.partition("?>")[2]
    return parse(path, text)


def named(root: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Iterate over elements of that name at any depth, whatever their namespace."""
    return (element for element in root.iter() if element.tag.rpartition("}")[2] == name)
