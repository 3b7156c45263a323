"""Jobs repeated over the cells of a matrix: what the cells are, what they are called, and what is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from neurodyn.core.errors import ConfigError

Value = str | int | float | bool
Cell = dict[str, Value]
PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def cells(products: Sequence[Mapping[str, Sequence[Value]]]) -> list[Cell]:
    """Return the cells of a matrix: every combination of each product's values, the last axis changing fastest."""
    return [
        dict(zip(axes, values, strict=True)) for axes in products for values in product(*(axes[name] for name in axes))
    ]


def cell_name(job: str, cell: Cell) -> str:
    """Return the name of a job's cell, for example calfads_linear_0."""
    values = (re.sub(r"[^a-z0-9]+", "_", str(value).lower()).strip("_") for value in cell.values())
    return "_".join([job, *values])


def filled(tree: Any, cell: Mapping[str, Any], where: str) -> Any:
    """Put a cell's values in the place of {axis}, in all strings of a tree; a string that is only {axis} keeps its type.

    Raises
    ------
    ConfigError
        If the cell has no such axis.
    """
    if isinstance(tree, Mapping):
        return {key: filled(value, cell, f"{where}.{key}") for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [filled(value, cell, where) for value in tree]
    if not isinstance(tree, str):
        return tree
    strange = [name for name in PLACE.findall(tree) if name not in cell]
    if strange:
        raise ConfigError(
            f"{where}: there is no axis or setting '{strange[0]}'.",
            f"Found '{tree}'; there are {', '.join(cell)}.",
            "Name one of these, or give the job another matrix.",
        )
    whole = PLACE.fullmatch(tree)
    return cell[whole[1]] if whole else PLACE.sub(lambda found: str(cell[found[1]]), tree)
