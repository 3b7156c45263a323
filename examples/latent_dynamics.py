"""Latent dynamics of a population that follows the Lorenz system: principal components beside LFADS."""

# %% Spikes of cells that see three hidden variables
import tempfile
from pathlib import Path

from neurodyn.data.scores import read_scores
from neurodyn.evaluate.latents import Latents, LatentsConfig
from neurodyn.evaluate.run import evaluate
from neurodyn.simulate.lorenz import Lorenz
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer

folder = Path(tempfile.mkdtemp())
session = Lorenz(Lorenz.Params(conditions=8, repeats=6, train_repeats=4, bins=60, cells=20, seed=0)).make()
session.save(folder / "lorenz.zarr")
print(session.session, session.variables)

# %% Two models of one window per trial; a real LFADS is trained for longer (leave its settings out)
seconds = 60 / session.rate_hz
of_trials = ["windows.variable=counts", "windows.align=events", "windows.split=column", "windows.condition=part"]
of_trials += ["windows.offset=0.0", f"windows.duration={seconds}", "training.warmup=5"]
runs = []
for model, own in (
    ("pca", ["model.components=3"]),
    ("lfads-spikes", ["training.batch=8", "training.epochs=30", "model.warmup=100"]),
):
    config, resolved = load_run_config(model, None, [*of_trials, *own])
    runs.append(fit(config, resolved, [folder / "lorenz.zarr"], folder / model, gpu="none"))
    infer(runs[-1], parts=("train", "test"))

# %% How much of the true variables a linear map finds in each model's latents
table = evaluate(Latents(LatentsConfig.model_validate({})), runs, folder / "scores")
for score in read_scores(table):
    if score.metric == "latents_r2" and score.fold == "all":
        print(f"{score.model}: R² {score.value:.2f} [{score.ci_low:.2f}, {score.ci_high:.2f}] ({score.split})")
