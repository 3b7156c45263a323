"""Which cells respond to gratings, which are tuned, and to what: with truth beside it."""

# %% Poisson cells of known tuning, half of them without any, seen through calcium, noise and drift
import numpy as np

import neurodyn as nd
from neurodyn.respond.output import cell_table
from neurodyn.respond.population import reading, sentences
from neurodyn.simulate.tuned import Tuned

session = Tuned(Tuned.Params(to="direction", drift=0.1, seed=1)).make()
print(session.session, session.variables, f"{session.stimulus.sizes['event']} gratings")

# %% Ask: every trial aligned, tests by permutation, tuning with intervals
found = nd.respond(session, "direction", trials=True)
print(*sentences(found), *reading(found), sep="\n")

# %% One table, a row per cell
table = cell_table(found)
print(table[["roi", "tuned", "selective_q", "preferred_direction", "osi", "dsi"]].head().round(3).to_string())

# %% Trials of the best cell: time from the onset, less the baseline
best = int(np.nanargmax(found["reliability"].where(found["tuned"]).values))
trials = found["trials"][found["event_condition"] == int(found["preferred"][best]), :, best]
print(
    f"cell {best}: {trials.sizes['event']} trials of {found['condition'].values[found['preferred'].values[best]]} degrees,"
)
print(f"peak of the mean {float(trials.mean('event').max()):.2f} ΔF/F, half rise {float(found['latency'][best]):.2f} s")

# %% Were they found?
truth = session.table("truth")
tuned, called = truth["tuned"].values, found["tuned"].values
apart = np.deg2rad(found["preferred_direction"].values - truth["preferred_direction"].values)[tuned & called]
error = np.median(np.abs(np.rad2deg(np.angle(np.exp(1j * apart)))))
print(f"{(tuned & called).sum()} of {tuned.sum()} tuned cells found, {(called & ~tuned).sum()} others;", end=" ")
print(f"preferred direction within {error:.1f} degrees (median)")

# %% The same question to a behaviour: place cells, with shifts along the recording as the null
track = Tuned(Tuned.Params(to="position", repeats=30, evoked_rate=8.0, seed=2)).make()
print(*sentences(nd.respond(track, "position", variable="counts")), sep="\n")

# %% Several regressors in one model: what all gratings have in common, and what directions differ by, in frames left out
encoding = nd.respond(session, glm="events,direction", shuffles=99)
print(*sentences(encoding), sep="\n")
