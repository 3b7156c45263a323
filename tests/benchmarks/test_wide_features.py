"""Scores against the number of features of the same content, for every decoder; the figure of docs/decoding.md."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.decode.test_reduce import decoded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
WIDTHS, SEEDS = (200, 255, 256, 257, 1000, 10_000), 20
FIGURE = os.environ.get("NEURODYN_FIGURES")


def test_scores_do_not_depend_on_the_number_of_features():
    means = {}
    for decoder in ("ridge", "knn", "lda", "logistic"):
        table = np.array([[decoded(width, decoder, seed) for width in WIDTHS] for seed in range(SEEDS)])
        means[decoder] = table.mean(axis=0)
        print(
            f"\n{decoder:9}"
            + "".join(f"  {width}: {value:.3f}" for width, value in zip(WIDTHS, means[decoder], strict=True))
        )
    if FIGURE:
        draw(means, Path(FIGURE) / "wide-features.png")
    for decoder, values in means.items():
        assert np.ptp(values) < (0.02 if decoder in ("ridge", "knn") else 0.05), decoder


def draw(means, path):
    from matplotlib.figure import Figure

    figure = Figure((6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for (decoder, values), marker in zip(means.items(), "osD^", strict=True):
        axes.semilogx(
            WIDTHS, values, marker=marker, label=f"{decoder}, {'R²' if decoder in ('ridge', 'knn') else 'accuracy'}"
        )
    axes.axvline(256, color="0.7", linewidth=1)
    axes.set(xlabel="features, of the same content", ylabel=f"score, mean over {SEEDS} simulations", ylim=(0, 1.02))
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
