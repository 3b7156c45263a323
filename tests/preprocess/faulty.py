"""Recordings with and without faults."""

import json
from pathlib import Path

import numpy as np

from neurodyn.data.recording import Recording

RNG = np.random.default_rng(0)


def sound(**more) -> Recording:
    """Return a recording without a fault, but for what is given."""
    neural = {"fluorescence": RNG.normal(100, 5, (900, 4)), "dff": RNG.normal(size=(900, 4)).astype(np.float32)}
    given = {"rate_hz": 30.0, "indicator": "GCaMP6f"} | more
    return Recording.from_arrays(given.pop("neural", neural), **given)


def broken(path: Path) -> Path:
    """Write a recording and break its contract three times."""
    sound(stimulus={"start": [1.0], "stop": [2.0]}).save(path)
    for place, change in (("", {"rate_hz": -1}), ("neural/dff/", {"units": ""})):
        file = path / place / "zarr.json"
        stored = json.loads(file.read_text())
        stored["attributes"] |= change
        file.write_text(json.dumps(stored))
    (chunk,) = (one for one in (path / "neural/fluorescence/c").rglob("*") if one.is_file())
    chunk.unlink()
    return path
