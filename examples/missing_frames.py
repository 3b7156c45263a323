"""A stretch of a movie that must go, filled in by interpolation and by principal components."""

# %% A session, cleaned
import tempfile
from pathlib import Path

import numpy as np

from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import load_chain
from neurodyn.simulate.widefield import Widefield
from neurodyn.training.config import load_run_config
from neurodyn.training.holes import HoleConfig
from neurodyn.training.impute import Filler, impute

folder = Path(tempfile.mkdtemp())
session = Widefield(Widefield.Params(trials=48, height=24, width=24, seed=3)).make()
clean = load_chain("widefield").run(session, folder / "clean.zarr")

# %% Half a second is rejected; each model fills it in, and nothing else
holes = HoleConfig(reject=((20.0, 20.5),))
recording = Recording.open(clean)
inside = (recording.time >= 20.0) & (recording.time < 20.5)
truth = session.tree["truth"]["dff"].values[:, session.brain]
for model in ("linear", "svd"):
    config, _ = load_run_config(model, None, ["model.components=10"] if model == "svd" else [])
    filled = Recording.open(impute(clean, folder / f"{model}.zarr", Filler.untrained(config), holes, model))
    values = filled["dff"].values[:, session.brain]
    assert np.array_equal(values[~inside], recording["dff"].values[:, session.brain][~inside])
    error = np.sqrt(np.mean((values[inside] - truth[inside]) ** 2))
    print(f"{model}: {inside.sum()} frames filled in, {error:.4f} ΔF/F from the planted activity")
