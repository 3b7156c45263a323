"""Zarr arrays of other programs: plain arrays, groups of arrays, and OME-Zarr images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from neurodyn.core.errors import DataError
from neurodyn.data.damage import SMALL, broken, check_packed, library
from neurodyn.data.lazy import DiskArray
from neurodyn.data.recording import Recording
from neurodyn.readers.arrays import OPTIONS, read_arrays
from neurodyn.readers.base import Reader
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.stacks import OPTIONS as STACK_OPTIONS
from neurodyn.readers.stacks import of_array, read_stack

MARKS = ("zarr.json", ".zarray", ".zgroup")
OME_AXES = {"t": "time", "c": "channel", "z": "plane", "y": "y", "x": "x"}
SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0}


class ZarrArraysReader(Reader):
    """Reads arrays of a foreign Zarr folder, version 2 or 3; OME-Zarr images say their axes and rate themselves."""

    suffixes = (".zarr",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the folder is a Zarr store that no neurodyn wrote."""
        return path.is_dir() and is_foreign(path)

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name; none of an OME-Zarr image, which says itself what it is."""
        arrays, image = _opened(path)
        return arrays if image is None else {}

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily.

        Raises
        ------
        DataError
            If the store is damaged or holds no array that fits.
        """
        arrays, image = _opened(path)
        if image is None:
            refuse_others(options, "zarr", OPTIONS)
            return read_arrays("zarr", path, arrays, options)
        refuse_others(options, "zarr", STACK_OPTIONS)
        return _read_ome(path, arrays, image, options)


def _opened(path: Path) -> tuple[dict[str, ZarrArray], dict[str, Any] | None]:
    """Return the arrays of a store, and what it says of itself as an OME-Zarr image."""
    with library(path):
        node = zarr.open(path, mode="r")
        arrays = {name: ZarrArray(path, array) for name, array in _arrays(path, node)}
        return arrays, None if isinstance(node, zarr.Array) else _multiscale(node)


def is_foreign(path: Path) -> bool:
    """Say whether a folder is a Zarr store other than a neurodyn recording."""
    mark = next((path / name for name in MARKS if (path / name).is_file()), None)
    if mark is None or mark.name != "zarr.json":
        return mark is not None
    try:
        with library(mark):
            root = json.loads(mark.read_text(encoding="utf-8"))
    except (DataError, UnicodeDecodeError):
        return False  # a damaged recording, as likely as not; its reader says what is wrong
    if not isinstance(root, dict) or not isinstance(root.get("attributes", {}), dict):
        return False
    own = root.get("attributes", {}).keys() & {"schema_version", "history"}
    return root.get("node_type") == "array" or not (own or (path / "neural").is_dir())


class ZarrArray(DiskArray):
    """One Zarr array; what its codecs cannot decode is told as damage of the file."""

    def __init__(self, path: Path, array: zarr.Array) -> None:
        super().__init__(array.shape, array.dtype)
        self.path, self.array = path, array
        attrs: dict[str, Any] = dict(array.attrs)
        self.units = attrs.get("units", attrs.get("unit"))
        self.dims = getattr(array.metadata, "dimension_names", None) or attrs.get("_ARRAY_DIMENSIONS")
        check_packed(path, array.shape, self.dtype)

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        try:
            with library(self.path):
                return np.asarray(self.array[key])
        except MemoryError as error:  # a damaged chunk may say that it unpacks into gigabytes
            if math.prod(self.array.chunks) * self.dtype.itemsize > SMALL:
                raise
            raise broken(self.path, ValueError("a chunk says that it holds more than its shape")) from error


def _arrays(path: Path, node: Any, prefix: str = "") -> Iterator[tuple[str, zarr.Array]]:
    if isinstance(node, zarr.Array):
        yield prefix or path.stem, node
        return
    for name, child in sorted(node.members()):
        yield from _arrays(path, child, f"{prefix}/{name}".strip("/"))


def _multiscale(group: zarr.Group) -> dict[str, Any] | None:
    attrs: dict[str, Any] = dict(group.attrs)
    ome: Any = attrs.get("ome", attrs)
    images = ome.get("multiscales") if isinstance(ome, dict) else None
    return images[0] if images else None


def _read_ome(path: Path, arrays: dict[str, ZarrArray], image: dict[str, Any], options: ReadOptions) -> Recording:
    """Read the finest picture of an OME-Zarr image, version 0.3 to 0.5."""
    try:
        finest = image["datasets"][0]
        array = arrays[finest["path"]]
        axes = [axis if isinstance(axis, str) else axis["name"] for axis in image["axes"]]
        named = tuple(OME_AXES[axis] for axis in axes)
        if len(named) != len(array.shape) or not {"time", "y", "x"} <= set(named):
            raise ValueError(f"axes {', '.join(axes)} of shape {array.shape}")
        rate = _ome_rate(image, finest, axes)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no OME-Zarr movie.",
            f"{type(error).__name__}: {error}; expected axes t, y, x and perhaps c and z.",
            "Check its multiscales attribute.",
        ) from error
    return read_stack("zarr", path, of_array(array, named, rate), options)


def _ome_rate(image: dict[str, Any], dataset: dict[str, Any], axes: list[str]) -> float | None:
    described = [axis for axis in image["axes"] if isinstance(axis, dict) and axis["name"] == "t"]
    second = SECONDS.get(described[0].get("unit", "")) if described else None
    period = 1.0
    for transform in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
        if transform["type"] == "scale":
            period *= float(transform["scale"][axes.index("t")])
    return 1 / (period * second) if second and period > 0 else None
