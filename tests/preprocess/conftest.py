"""A workspace around small arrays."""

from collections.abc import Callable

import numpy as np
import pytest
import zarr

from neurodyn.data import store
from neurodyn.preprocess.base import Workspace


@pytest.fixture
def make_workspace(tmp_path, monkeypatch) -> Callable[..., Workspace]:
    """Return a function that stores arrays, cut into chunks of `chunk` frames and `tile` pixels, as a Workspace."""

    def make(rate_hz=10.0, brain=None, indicator="GCaMP6f", time=None, chunk=512, tile=64, **arrays):
        monkeypatch.setattr(store, "FRAMES", chunk)
        monkeypatch.setattr(store, "TILE", tile)
        root = zarr.open_group(tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr", mode="w", zarr_format=3)
        for name, values in arrays.items():
            dims = ("time", "roi") if values.ndim == 2 else ("time", "y", "x")
            attrs = {"units": "counts", "made_by": "source"}
            store.create_variable(root, name, values.shape, dims, values.dtype, attrs)[...] = values
        frames = next(iter(arrays.values())).shape[0]
        return Workspace(root, rate_hz, np.arange(frames) / rate_hz if time is None else time, brain, indicator)

    return make
