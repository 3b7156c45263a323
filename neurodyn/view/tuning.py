"""`Tuning`: what `neurodyn respond` found of the cells that a window shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.respond.encoded import is_encoding
from neurodyn.respond.output import open_responses


@dataclass(frozen=True)
class Tuning:
    """Tuning curves, preferences and tests of all cells.

    Parameters
    ----------
    found
        What `neurodyn respond` wrote of traces.
    """

    found: xr.Dataset

    @classmethod
    def of(cls, path: Path, recording: Recording) -> Tuning:
        """Open the responses of a recording's cells.

        Raises
        ------
        DataError
            If there are none, if they are encoding models or maps, or those of other cells.
        """
        found = open_responses(path)
        if is_encoding(found) or found["tuning"].dims != ("condition", "roi"):
            kind = "encoding models" if is_encoding(found) else "maps"
            raise DataError(
                f"{path} has no tuning curves of cells.",
                f"It holds {kind}.",
                f"neurodyn report {path} shows them; ask for tuning: neurodyn respond RECORDING --target COLUMN",
            )
        cells = recording.neural.sizes.get("roi", 0)
        if found.attrs["session"] != recording.session or found.sizes["roi"] != cells:
            raise DataError(
                f"{path} is not of these cells.",
                f"It has {found.sizes['roi']} cells of session '{found.attrs['session']}'; shown are {cells} of "
                f"'{recording.session}'.",
                "Ask this recording: neurodyn respond RECORDING --target COLUMN",
            )
        return cls(found)

    @property
    def target(self) -> str:
        """What the cells are tuned to, with its unit where it has one."""
        places = self._places
        units = "" if places is None else str(places.attrs.get("units", ""))
        return f"{self.found.attrs['condition']}{f', {units}' if units else ''}"

    @property
    def labels(self) -> list[str]:
        """Name of each condition."""
        return [str(label) for label in self.found["condition"].values]

    @property
    def places(self) -> np.ndarray | None:
        """Where conditions lie on an axis, shape (condition,); None where they are names, or a grid of two."""
        places = self._places
        return None if places is None else places.values.astype(np.float64)

    @property
    def _places(self) -> xr.DataArray | None:
        found = [values for name, values in self.found.coords.items() if str(name).startswith("condition_")]
        return found[0] if len(found) == 1 and found[0].dtype.kind in "iuf" else None

    @property
    def curves(self) -> dict[str, np.ndarray]:
        """Mean response and its 95 % interval: `mean`, `low`, `high`, each shape (roi, condition)."""
        names = {"mean": "tuning", "low": "tuning_low", "high": "tuning_high"}
        return {short: self.found[name].transpose("roi", "condition").values for short, name in names.items()}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Columns of the list of cells, shape (roi,): `preferred`, number of the condition, NaN without; `q` of being tuned."""
        q = self.found["selective_q"].values.astype(np.float64)
        return {
            "preferred": np.where(np.isnan(self.found["tuning"].values).all(0), np.nan, self.found["preferred"].values),
            "q": q,
        }

    @property
    def tuned(self) -> np.ndarray:
        """Whether a cell is called tuned, shape (roi,)."""
        return self.found["tuned"].values.astype(bool)
