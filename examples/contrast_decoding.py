"""From a simulated widefield session to decoded contrast, through the Python API."""

# %% Simulate a session with known truth
import tempfile
from pathlib import Path

from neurodyn.data.recording import Recording
from neurodyn.decode.run import DecodeConfig, decode
from neurodyn.preprocess.chain import load_chain
from neurodyn.simulate.widefield import Widefield

folder = Path(tempfile.mkdtemp())
session = Widefield(Widefield.Params(trials=48, height=24, width=24, seed=3)).make()
print(session.session, session.variables, f"{session.rate_hz:g} Hz")

# %% Remove hemodynamics, take ΔF/F; the chain is checked before it runs
clean = load_chain("widefield").run(session, folder / "clean.zarr")
recording = Recording.open(clean)
print([step["step"] for step in recording.history])

# %% How much of the planted activity is left?
planted = session.tree["truth"]["dff"].values[:, session.brain]
found = recording["dff"].values[:, session.brain]
noise = (found - planted - (found - planted).mean(0)).std()
print(f"residual {noise:.3f} ΔF/F, of which shot noise is about 0.03")

# %% Decode contrast from raw frames and patch means, blocked by trial
table = decode(clean, config=DecodeConfig(target="contrast", transform="sqrt", shuffles=50), out=folder / "scores")
print(table.read_text().splitlines()[1])
