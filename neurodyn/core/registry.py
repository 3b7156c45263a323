"""Names to classes: a literal table, imported on first use, plus entry points."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from neurodyn.core.errors import UnknownNameError

LISTED = ("backend", "chain", "decoder", "evaluation", "indicator", "model", "pipeline", "reader", "simulator", "step")


def unknown(kind: str, name: str, names: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown name: the closest match and the full list."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return UnknownNameError(
        f"There is no {kind} named '{name}'.",
        f"Known: {', '.join(names) or 'none'}.",
        f"Did you mean '{close[0]}'?" if close else _way_out(kind),
    )


def _way_out(kind: str) -> str:
    return f"List them with: neurodyn list {kind}s" if kind in LISTED else "Take one of these."


class Registry:
    """Plug-ins of one kind, looked up by name.

    Parameters
    ----------
    kind
        Singular noun for messages: "step", "decoder", …
    table
        Name -> "module:Class". Listing names imports nothing.
    group
        Entry-point group through which other packages add names.
    """

    def __init__(self, kind: str, table: dict[str, str], group: str) -> None:
        self.kind, self._table, self._group = kind, table, group

    @property
    def own(self) -> list[str]:
        """Names in the table, in its order; other packages are not asked."""
        return list(self._table)

    def targets(self) -> dict[str, str]:
        """Return every name with its "module:Class", other packages' entry points included."""
        from importlib.metadata import entry_points  # every command starts here, and few ask

        foreign = {point.name: point.value for point in entry_points(group=self._group)}
        return foreign | self._table

    def names(self) -> list[str]:
        """Return all names, sorted, without importing any plug-in."""
        return sorted(self.targets())

    def get(self, name: str) -> Any:
        """Import and return the class behind a name.

        Raises
        ------
        UnknownNameError
            If no plug-in has that name; the message carries the closest match and the full list.
        """
        target = self._table.get(name) or self.targets().get(name)  # entry points are read only for what is not ours
        if target is None:
            raise unknown(self.kind, name, self.targets())
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def summary(self, name: str) -> str:
        """Return the first docstring line of a plug-in's class, read from its source without importing it."""
        module, _, attribute = self.targets()[name].partition(":")
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            return ""
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == attribute]
        doc = ast.get_docstring(classes[0]) if classes else None
        return doc.splitlines()[0] if doc else ""
