"""Which of two models decodes better, over sessions of several animals?"""

# %% Scores of eight sessions: sessions differ more than models do
import csv
import tempfile
from pathlib import Path

import numpy as np

from neurodyn.data.scores import Score, write_scores
from neurodyn.report.compare import compare

folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
sessions = {f"mouse{animal}_day{day}": rng.uniform(0.2, 0.7) for animal in range(4) for day in range(2)}
scores = [
    Score(
        session=session,
        model=model,
        seed=0,
        split="blocked",
        target="contrast",
        metric="r2",
        value=level + gain + rng.normal(0, 0.01),
        n=40,
        unit="trials",
    )
    for model, gain in (("pca", 0.0), ("cst", 0.03))
    for session, level in sessions.items()
]
table = write_scores(folder / "scores.csv", scores)

# %% Sessions as units, paired; then animals, which are what the world has more of
for name, subject in (("sessions", None), ("animals", "^(mouse[0-9]+)_")):
    page = compare([table], folder / name, against="pca", units="sessions", subject=subject)
    with (page.parent / "comparison.csv").open(newline="", encoding="utf-8") as handle:
        (row,) = [row for row in csv.DictReader(handle) if row["model"] == "cst"]
    difference, low, high = (float(row[key]) for key in ("difference", "difference_low", "difference_high"))
    print(f"{row['units']} {name}: cst - pca = {difference:.3f} [{low:.3f}, {high:.3f}], p = {float(row['p']):.3f}")
