"""Score which cells a model said would respond, against chance that knows how often each of them does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.scores import Score
from neurodyn.decode.detection import METRICS, measures
from neurodyn.evaluate.base import PredictionEvaluation
from neurodyn.evaluate.inferred import Inferred
from neurodyn.metrics.intervals import widening


class ResponsesConfig(Params):
    """How classified responses are scored."""

    bootstraps: int = Field(default=500, ge=100, description="resamples of cells for the intervals")
    shuffles: int = Field(default=200, ge=19, description="shuffles of every cell's labels for the level of chance")
    seed: int = Field(default=0, ge=0, description="seed of resamples and shuffles")


class Responses(PredictionEvaluation):
    """Which cells a model said would respond, against chance that knows how often each of them does.

    Log-odds are compared with what came, pooled over cells and held-out windows. `accuracy`, `balanced_accuracy` (mean of
    the shares of responses and of their absence that were called right), `f1` of responses, and `average_precision`; a cell
    is called responding where its log-odds are above 0. Intervals by bootstrap over cells. Chance: the labels of every cell
    shuffled over its windows, so that knowing how often each cell responds is no merit.
    """

    name = "responses"
    Config = ResponsesConfig
    config: ResponsesConfig

    def score(self, sources: Sequence[Inferred]) -> Iterator[Score]:
        """Return a row per run, part and metric."""
        for one in sources:
            for part in one.scored:
                yield from _scores(one, part, self.config)


def _scores(one: Inferred, part: str, config: ResponsesConfig) -> Iterator[Score]:
    odds, answers = _pairs(one, part)
    known = np.isfinite(answers)
    found = measures(odds[known], answers[known])
    if not np.isfinite(found).all():
        raise DataError(
            f"{one.path} cannot be scored on part '{part}'.",
            f"Found {np.nansum(answers):g} responses among {known.sum()} cells and windows; expected both answers.",
            "Choose another rule or threshold: --set windows.responses.threshold=VALUE",
        )
    rng = np.random.default_rng(config.seed)
    cells = odds.shape[1]
    drawn = [rng.integers(cells, size=cells) for _ in range(config.bootstraps)]
    spread = np.array([measures(odds[:, c][known[:, c]], answers[:, c][known[:, c]]) for c in drawn])
    null = np.array([measures(odds[known], _shuffled(answers, rng)[known]) for _ in range(config.shuffles)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # a resample with one answer only
        low, high = np.nanpercentile(spread, [2.5, 97.5], axis=0) if cells > 1 else np.full((2, len(METRICS)), np.nan)
    if cells > 1:
        low, high = (found + widening(cells) * (end - found) for end in (low, high))
    p = (1 + (null >= found).sum(axis=0)) / (1 + config.shuffles)
    note = f"{np.nanmean(answers):.1%} of {known.sum()} cells and windows respond"
    for k, metric in enumerate(METRICS):
        row = one.row(part, "responses", metric, "", float(found[k]), (float(low[k]), float(high[k])), cells)
        yield replace(row, null_mean=float(null[:, k].mean()), p=float(p[k]), unit="cells", note=note)


def _pairs(one: Inferred, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds and answers of one part, shape (window, cell)."""
    odds, answers = one.given("logits"), one.given("responses")
    if odds is None or answers is None:
        raise DataError(
            f"{one.path} says of no cell whether it responds.",
            "Expected logits and responses in prediction.zarr.",
            "Train a model that classifies: neurodyn train quantformer-classifier …",
        )
    rows = one.part == part
    return odds[rows].reshape(rows.sum(), -1), answers[rows].reshape(rows.sum(), -1)


def _shuffled(answers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shuffle the known answers of every cell over its windows."""
    out = answers.copy()
    for cell in range(out.shape[1]):
        known = np.isfinite(out[:, cell])
        out[known, cell] = rng.permutation(out[known, cell])
    return out
