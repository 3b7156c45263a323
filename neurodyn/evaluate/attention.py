"""Score the attention that a model gives to points it has not seen, against that it gives to them once they are seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import Score
from neurodyn.evaluate.base import ModelEvaluation
from neurodyn.metrics.intervals import bootstrap_interval

if TYPE_CHECKING:
    from neurodyn.training.run import Run


class AttentionConfig(Params):
    """How upsampled attention is scored."""

    extra: int = Field(default=10, ge=1, description="points between the frames, the same for all windows")
    part: str = Field(default="test", description="windows scored: train, valid or test")
    bootstraps: int = Field(default=1000, ge=100, description="resamples of windows for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the extra points and of the resamples")


class Attention(ModelEvaluation):
    """The attention that a model gives to points it has not seen, against that it gives to them once they are seen.

    `attention_error`, window by window, of the model and of its maps interpolated linearly (`training.attention` says how).
    For models with attention over continuous time, trained on recordings with `dense` truth.

    References
    ----------
    Fonseca et al. 2023, Fig. 3, 11 and 12; the baseline as in Caron et al. 2021.
    """

    name = "attention"
    Config = AttentionConfig
    config: AttentionConfig

    def score(self, sources: Sequence[Run]) -> Iterator[Score]:
        """Return a row per window, and their mean with fold "all"."""
        from neurodyn.training.attention import attention_errors

        for run in sources:
            if not {"attention", "continuous_time"} <= run.backend.capabilities:
                raise ConfigError(
                    f"{run.config.name} has no attention between its frames.",
                    f"It can: {', '.join(sorted(run.backend.capabilities))}.",
                    "Give runs of cst.",
                )
            found = attention_errors(run, self.config.part, self.config.extra, self.config.seed)
            for model, errors in found.items():
                yield from _scores(run, model, errors, self.config)


def _scores(run: Run, model: str, errors: np.ndarray, config: AttentionConfig) -> Iterator[Score]:
    windows, nothing = run.windows[config.part], float("nan")
    low, high = bootstrap_interval(
        lambda index: float(errors[index].mean()), errors.size, resamples=config.bootstraps, seed=config.seed
    )
    whole = Score(
        session=windows.recordings[int(windows.session[0])].session,
        model=model,
        seed=run.config.training.seed,
        split=f"{run.config.windows.split}:{config.part}",
        target="attention",
        metric="attention_error",
        value=float(errors.mean()),
        ci_low=low,
        ci_high=high,
        n=errors.size,
        unit="windows",
    )
    yield whole
    for start, error in zip(windows.start, errors, strict=True):
        yield replace(whole, fold=f"{start:.3f} s", value=float(error), ci_low=nothing, ci_high=nothing, n=1)
