"""What is missing from a recording: frames that were dropped, stretches and pixels that were rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from pydantic import Field, field_validator

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.clock import missing_frames
from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.images import mask_file


class HoleConfig(Params):
    """What counts as missing, besides what is not finite."""

    gaps: bool = Field(default=True, description="put frames where the clock says that some were dropped")
    longest: float = Field(default=60.0, gt=0, description="longest gap that is filled with frames, s")
    reject: tuple[tuple[float, float], ...] = Field(
        default=(), description="stretches of time whose frames are rejected, s, from the first to before the second"
    )
    pixels: str | None = Field(default=None, description="image file of rejected pixels, non-zero where rejected")

    @field_validator("reject")
    @classmethod
    def _ordered(cls, reject: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(start >= stop for start, stop in reject):
            raise ValueError(f"{reject}: every stretch starts before it stops")
        return reject


def with_holes(recording: Recording, config: HoleConfig) -> Recording:
    """Return the recording on a regular clock, NaN in the neural variables where data are missing.

    Raises
    ------
    DataError
        If a gap is longer than allowed, frames overlap on the regular clock, or the mask does not fit.
    """
    place, time = _clock(recording, config)
    rejected = np.zeros(time.size, dtype=bool)
    for start, stop in config.reject:
        rejected |= (time >= start) & (time < stop)
    pixels = None
    if config.pixels is not None:
        pixels = mask_file(recording.path or Path(), config.pixels, "rejected pixels") != 0
    neural = recording.neural
    variables = {
        name: _holed(str(name), array, place, rejected, pixels if array.ndim == 3 else None)
        for name, array in neural.data_vars.items()
    }
    coords = {name: coord for name, coord in neural.coords.items() if "time" not in coord.dims}
    dataset = xr.Dataset(variables, coords={**coords, "time": ("time", time, {"units": "s"})})
    return recording.with_groups({"neural": dataset}, step=entry("holes", config.model_dump(mode="json")))


def _clock(recording: Recording, config: HoleConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of every frame on the new clock, and that clock, s."""
    time = recording.time
    if not config.gaps:
        return np.arange(time.size), time
    missing = missing_frames(time, recording.rate_hz)
    longest = float(missing.max(initial=0) / recording.rate_hz)
    if longest > config.longest:
        where = int(missing.argmax())
        raise DataError(
            f"There is a gap of {longest:g} s after {time[where]:g} s.",
            f"Gaps of up to {config.longest:g} s are filled with frames.",
            "Allow longer ones, --set longest=SECONDS, or leave gaps alone: --set gaps=false",
        )
    place = np.concatenate([[0], np.cumsum(missing + 1)])
    return place, np.interp(np.arange(place[-1] + 1), place, time)


def _holed(
    name: str, array: xr.DataArray, place: np.ndarray, rejected: np.ndarray, pixels: np.ndarray | None
) -> xr.Variable:
    if pixels is not None and pixels.shape != array.shape[1:]:
        raise DataError(
            f"The mask of rejected pixels does not fit '{name}'.",
            f"Found {pixels.shape}; frames have {array.shape[1:]}.",
            "Give an image of the frame's shape: --pixels FILE",
        )
    variable = lazy(tuple(map(str, array.dims)), _Holed(array.variable, place, rejected, pixels))
    variable.attrs = dict(array.attrs)
    return variable


class _Holed(DiskArray):
    """Frames on their new clock, NaN where there is none or it is rejected."""

    def __init__(self, source: xr.Variable, place: np.ndarray, rejected: np.ndarray, pixels: np.ndarray | None) -> None:
        dtype = np.float64 if source.dtype == np.float64 else np.float32
        super().__init__((rejected.size, *source.shape[1:]), dtype)
        self.variable, self.place, self.rejected, self.pixels = source, place, rejected, pixels

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        wanted = np.arange(self.shape[0])[key[0]]
        out = np.full((wanted.size, *self.shape[1:]), np.nan, dtype=self.dtype)
        source = np.searchsorted(self.place, wanted)
        there = (source < self.place.size) & ~self.rejected[wanted]
        there[there] = self.place[source[there]] == wanted[there]
        if there.any():
            low, high = int(source[there].min()), int(source[there].max()) + 1
            out[there] = self.variable[low:high].values[source[there] - low]
        if self.pixels is not None:
            out[:, self.pixels] = np.nan
        return out[(slice(None), *key[1:])]
