"""Zarr storage of a Recording: streamed variables, small tables, deterministic bytes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec
from zarr.errors import ZarrUserWarning

from neurodyn.core.files import atomic, read_json

Observer = Callable[[str, int, np.ndarray], None]
TILE = 64
FRAMES = 512
# A missing chunk is a loss, never a dark stretch; a changed one does not decode.
STORAGE: dict[str, Any] = {
    "compressors": ZstdCodec(level=1, checksum=True),
    "config": {"write_empty_chunks": True},
}


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return Zarr chunks that serve both a stretch of time and a tile of pixels."""
    if len(shape) == 3:
        return (min(shape[0], FRAMES), min(shape[1], TILE), min(shape[2], TILE))
    return (min(shape[0], 4096), min(shape[1], 256))


def create_variable(
    root: zarr.Group, name: str, shape: tuple[int, ...], dims: tuple[str, ...], dtype: Any, attrs: dict[str, Any]
) -> zarr.Array:
    """Create an empty neural variable to be filled slice by slice.

    Parameters
    ----------
    root
        The recording's Zarr group.
    shape
        (time, roi) or (time, y, x).
    attrs
        At least `units` and `made_by`.
    """
    return root.require_group("neural").create_array(
        name,
        shape=shape,
        chunks=chunk_shape(shape),
        dtype=dtype,
        dimension_names=dims,
        attributes=attrs,
        fill_value=np.nan if np.issubdtype(dtype, np.floating) else 0,  # what is not written yet is no datum
        **STORAGE,
    )


@contextmanager
def whole_store(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes the store `target` when the block ends well, its metadata consolidated.

    Consolidated metadata are for others, who open a store with xarray in one read; our own readers look at every array's,
    so that a lost one is seen.
    """
    with atomic(target, folder=True) as folder:
        yield folder
        _consolidate(folder)


def _consolidate(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)  # version 3 of Zarr has not yet agreed on the form
        zarr.consolidate_metadata(str(folder), zarr_format=3)
    root = read_json(folder / "zarr.json")
    known = root["consolidated_metadata"]
    known["metadata"] = dict(sorted(known["metadata"].items()))  # as found, they are in the order of the file system
    (folder / "zarr.json").write_text(json.dumps(root, indent=2), encoding="utf-8")


def write_tree(tree: xr.DataTree, folder: Path, observe: Observer | None = None) -> zarr.Group:
    """Write a Recording's tree into an empty folder; neural variables are streamed in chunks of time.

    Parameters
    ----------
    observe
        Called with each neural variable's name, first frame and values as they pass, so that looking costs no reading.

    Returns
    -------
    zarr.Group
        The open root group, for more variables.
    """
    root = zarr.open_group(
        folder, mode="w", zarr_format=3, attributes={str(key): value for key, value in tree.attrs.items()}
    )
    for name, node in tree.children.items():
        dataset = node.to_dataset(inherit=False)
        small = dataset.drop_vars(list(dataset.data_vars)) if name == "neural" else dataset
        write_table(folder, name, small)
    neural = tree["neural"].to_dataset()
    for name, array in neural.data_vars.items():
        dims = tuple(str(dim) for dim in array.dims)
        target = create_variable(root, str(name), array.shape, dims, array.dtype, dict(array.attrs))
        for chunk in aligned_chunks(target):
            values = array.variable[chunk].values
            if observe is not None:
                observe(str(name), chunk.start, values)
            target[chunk] = values
    return root


def write_table(folder: Path, group: str, dataset: xr.Dataset) -> None:
    """Write a small dataset into a group of the recording's store."""
    dataset = dataset.drop_encoding()
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "U":  # only variable-length strings have a Zarr v3 specification
            dataset[name] = variable.astype(object)
    there = set(zarr.open_group(folder, path=group, mode="a").array_keys())
    encoding = {name: {"compressors": STORAGE["compressors"]} for name in dataset.variables if name not in there}
    storage: dict[str, Any] = {"mode": "a", "zarr_format": 3, "consolidated": False, "write_empty_chunks": True}
    dataset.to_zarr(folder, group=group, encoding=encoding, **storage)


def aligned_chunks(target: zarr.Array, chunk_bytes: int = 64 * 2**20) -> list[slice]:
    """Cut time into slices that end on the array's chunk borders, so that no chunk is written twice."""
    border = target.chunks[0]
    frame = max(1, int(np.prod(target.shape[1:], dtype=np.int64)) * target.dtype.itemsize)
    step = max(border, chunk_bytes // frame // border * border)
    return [slice(start, min(start + step, target.shape[0])) for start in range(0, target.shape[0], step)]


def as_text(values: np.ndarray) -> np.ndarray:
    """Return fixed-width strings; what a store gives back may be objects or variable-length strings."""
    return np.array([str(value) for value in values])
