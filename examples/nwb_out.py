"""A preprocessed session to NWB, and back without loss."""

# %% A session
import tempfile
from pathlib import Path

import numpy as np

from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import load_chain
from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.simulate.two_photon import TwoPhoton

folder = Path(tempfile.mkdtemp())
session = TwoPhoton(TwoPhoton.Params(repeats=2, seed=1)).make()
recording = Recording.open(load_chain("two-photon").run(session, folder / "spikes.zarr"))

# %% Out and back
path = write_nwb(recording, folder / "session.nwb")
again = read(path, ReadOptions())
for name in recording.variables:
    assert np.array_equal(recording[name].values, again[name].values), name
print(f"{path.name}: {', '.join(recording.variables)} come back bit for bit")
