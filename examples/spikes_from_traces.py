"""From ROI traces with neuropil to spikes, scored against the true ones."""

# %% Direction-tuned cells, seen through calcium, drift, neuropil and noise
import tempfile
from pathlib import Path

import numpy as np

from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import load_chain
from neurodyn.simulate.two_photon import TwoPhoton

folder = Path(tempfile.mkdtemp())
session = TwoPhoton(TwoPhoton.Params(repeats=2, seed=1)).make()
print(session.session, session.variables, f"{session.rate_hz:g} Hz")

# %% Neuropil subtracted, ΔF/F, spikes by OASIS
recording = Recording.open(load_chain("two-photon").run(session, folder / "spikes.zarr"))
print([step["step"] for step in recording.history])

# %% How near are they? Correlation in bins of half a second, cell by cell
true, found = session.tree["truth"]["spikes"].values, recording["spikes"].values
width = round(session.rate_hz / 2)
bins = len(true) // width
true, found = (values[: bins * width].reshape(bins, width, -1).sum(1) for values in (true, found))
each = [np.corrcoef(one, other)[0, 1] for one, other in zip(true.T, found.T, strict=True) if one.std() and other.std()]
print(f"median correlation {np.median(each):.2f} over {len(each)} cells")
