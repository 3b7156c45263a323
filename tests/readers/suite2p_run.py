"""suite2p itself, run once on a small simulated movie whose rows and columns differ in number."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from neurodyn.preprocess.suite2p import import_suite2p
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams

SHAPE, RATE = (64, 96), 15.0


@dataclass(frozen=True)
class Ran:
    """What suite2p left: its folder of the plane, and the registered movie, shape (time, y, x)."""

    plane: Path
    movie: np.ndarray


def run_suite2p(folder: Path) -> Ran:
    """Simulate a movie that moves, and have suite2p register it, find ROIs and write its files, Fall.mat too."""
    known = TwoPhotonParams(
        cells=9, directions=2, repeats=3, on=1.0, off=1.5, rate_hz=RATE, movie=True, height=SHAPE[0], width=SHAPE[1],
        noise=0.03, seed=3,
    )  # fmt: skip
    still = TwoPhoton(known).make()["fluorescence"].values
    shifts = np.random.default_rng(0).integers(-2, 3, (len(still), 2))
    moved = np.stack([np.roll(frame, shift, (0, 1)) for frame, shift in zip(still, shifts, strict=True)])
    tifffile.imwrite(folder / "movie.tif", moved)
    suite2p = import_suite2p()
    settings = suite2p.default_settings()
    settings |= {"fs": RATE, "tau": 0.4, "torch_device": "cpu"}
    settings["registration"] |= {"nonrigid": False}
    settings["run"] |= {"do_regmetrics": False}
    settings["io"] |= {"save_mat": True}
    db = suite2p.default_db() | {"data_path": [str(folder)], "save_path0": str(folder)}
    suite2p.run_s2p(db=db, settings=settings)
    plane = folder / "suite2p" / "plane0"
    return Ran(plane, np.fromfile(plane / "data.bin", np.int16).reshape(-1, *SHAPE).astype(float))
