"""Score inferred latents, rates, spikes and fluorescence against ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.scores import Score
from neurodyn.data.window_config import WindowConfig
from neurodyn.evaluate.base import PredictionEvaluation
from neurodyn.evaluate.inferred import Inferred, open_inferred
from neurodyn.metrics.alignment import (
    Alignment,
    are_counts,
    bits_per_spike,
    pooled_r2,
    pooled_squared_pearson,
    products,
    spike_likelihoods,
)

GIVEN = {"rates": "rates", "spikes": "spikes", "mean": "fluorescence"}
TARGETS = ("rates", "spikes", "fluorescence")
DIMENSION = "latents_r2_dim"


class LatentsConfig(Params):
    """What is compared with ground truth, and how."""

    features: tuple[str, ...] = Field(
        default=(),
        description="neural variables of the recording to score in place of what the model gives: NAME, or TARGET=NAME "
        "with TARGET rates, spikes or fluorescence (default: spikes for names that begin so or with counts)",
    )
    fluorescence: str = Field(default="dff", description="noisy variable that fluorescence is compared with")
    windows: WindowConfig | None = Field(
        default=None, description="windows of bare recordings (default: one per trial, parts by the column part)"
    )
    bootstraps: int = Field(default=1000, ge=100, description="resamples of trials for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")

    def recorded(self) -> dict[str, str]:
        """Return target -> neural variable.

        Raises
        ------
        ConfigError
            If a target is unknown or named twice.
        """
        found: dict[str, str] = {}
        for feature in self.features:
            target, sign, name = feature.rpartition("=")
            target = target if sign else "spikes" if name.startswith(("spikes", "counts")) else "fluorescence"
            if target not in TARGETS or target in found:
                raise ConfigError(
                    f"--features {feature} cannot be scored.",
                    f"Found target '{target}'; expected each of {', '.join(TARGETS)} at most once.",
                    "Example: --features spikes=spikes_rounded,fluorescence=denoised",
                )
            found[target] = name
        return found


class Latents(PredictionEvaluation):
    """Latents, rates, spikes and fluorescence that were inferred against those that are true, part by part.

    `latents_r2`: squared correlation of all entries pooled, after an affine map fitted on part train;
    `latents_r2_dimK`: 1 - SSE/SST of each true latent after the same map. `rates_r2`, `spikes_r2` and
    `fluorescence_r2`: squared correlation of all entries pooled, fluorescence with the noisy variable.
    `bits_per_spike` where the variable the model was trained on holds counts. Metrics of what a model does not give
    are left out. Intervals resample trials, the map held fixed.

    Of bare recordings, `features` names what is scored.
    """

    name = "latents"
    Config = LatentsConfig
    labels: ClassVar = {
        "latents_r2": "Latents",
        "rates_r2": "Rates",
        "spikes_r2": "Spikes",
        "fluorescence_r2": "Fluorescence",
        "bits_per_spike": "Bits per spike",
    }
    details: ClassVar = {DIMENSION: "1 − SSE/SST of each true latent after the same map."}
    config: LatentsConfig

    def open(self, paths: Sequence[Path]) -> list[Inferred]:
        """Open runs with a prediction of their parts, and recordings, all with ground truth."""
        return open_inferred(paths, self.config.windows)

    def score(self, sources: Sequence[Inferred]) -> Iterator[Score]:
        """Return a row per run, part and metric."""
        for one in sources:
            yield from _scores(one, self.config)

    @classmethod
    def label(cls, metric: str) -> str:
        """Return a metric's title in a table."""
        return f"Latent {metric.removeprefix(DIMENSION)}" if metric.startswith(DIMENSION) else super().label(metric)


def _scores(one: Inferred, config: LatentsConfig) -> list[Score]:
    if not one.scored:
        raise DataError(
            f"{one.path} has no prediction for held-out windows.",
            f"Found parts: {', '.join(sorted(set(one.part)))}.",
            f"Make it: neurodyn infer {one.path} --on all",
        )
    scores = [*_latent_scores(one, config), *_course_scores(one, config), *_count_scores(one, config)]
    if not scores:
        raise DataError(
            f"{one.path} holds nothing to score.",
            "Expected latents, rates or spikes from a model with their true courses, or --features.",
            "Name variables of the recording: --features spikes",
        )
    return scores


def _latent_scores(one: Inferred, config: LatentsConfig) -> Iterator[Score]:
    inferred, known = one.given("latents"), one.true("latents")
    if inferred is None or known is None:
        return
    train = one.part == "train"
    if not train.any():
        raise DataError(
            f"{one.path} has no latents of the training windows to align with.",
            f"Found parts: {', '.join(sorted(set(one.part)))}; expected train, too.",
            f"Make them: neurodyn infer {one.path} --on all",
        )
    aligned = Alignment.fit(inferred[train], known[train])(inferred)
    how = {"features": "latents", "bootstraps": config.bootstraps, "seed": config.seed}
    for part in one.scored:
        rows = one.part == part
        sums = products(known[rows], aligned[rows])
        yield one.score(part, "latents", "latents_r2", sums, pooled_squared_pearson, **how)
        for k in range(known.shape[-1]):
            sums = products(known[rows][..., k], aligned[rows][..., k])
            yield one.score(part, "latents", f"{DIMENSION}{k + 1}", sums, pooled_r2, **how)


def _course_scores(one: Inferred, config: LatentsConfig) -> Iterator[Score]:
    """Score rates, spikes and fluorescence; variables of the recording stand in for what the model gives."""
    courses = {target: (name, one.recorded(name)) for target, name in config.recorded().items()}
    for name, target in GIVEN.items():
        given = one.given(name)
        if given is not None and target not in courses:
            courses[target] = (name, given)
    if one.windows.config.variable != config.fluorescence and "fluorescence" not in config.recorded():
        courses.pop("fluorescence", None)  # a model of counts reconstructs rates
    for target, (name, course) in courses.items():
        known = one.recorded(config.fluorescence) if target == "fluorescence" else one.true(target)
        if known is None:
            continue
        for part in one.scored:
            rows = one.part == part
            sums = products(known[rows], course[rows])
            how = {"features": name, "bootstraps": config.bootstraps, "seed": config.seed}
            yield one.score(part, target, f"{target}_r2", sums, pooled_squared_pearson, **how)


def _count_scores(one: Inferred, config: LatentsConfig) -> Iterator[Score]:
    """Score rates as predictions of the counts a model was trained on; nothing where these are no counts."""
    rates, variable = one.given("rates"), one.windows.config.variable
    if rates is None:
        return
    counts = one.recorded(variable)
    if not np.isfinite(counts).all() or not are_counts(counts):
        return
    how = {"features": "rates", "bootstraps": config.bootstraps, "seed": config.seed}
    for part in one.scored:
        rows = one.part == part
        mean = counts[rows].mean(axis=(0, 1))
        sums = spike_likelihoods(rates[rows] / one.windows.rate_hz, counts[rows], mean)
        yield one.score(part, variable, "bits_per_spike", sums, bits_per_spike, **how)
