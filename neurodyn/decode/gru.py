"""Gated recurrent unit over whole trials; the one decoder that needs torch, which comes with its network in `nn`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from neurodyn.core import config
from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.scaling import Standardiser
from neurodyn.nn.trial_classifier import Fitting, fit_trial_classifiers


class GRU(Decoder):
    """Bidirectional gated recurrent unit over a trial's frames, trained with every class of equal weight.

    Features are sequences, shape (sample, time, feature), standardised per frame and feature; features without a time
    axis are sequences of one frame. A share of every class's training samples decides when to stop. Read its balanced
    accuracy, the mean over classes of the share found.

    References
    ----------
    Cho K, et al. (2014). Learning phrase representations using RNN encoder-decoder. EMNLP, 1724-1734.
    Prince LY, Bakhtiari S, Gillon CJ, Richards BA (2021), which decodes trials from latents in this way.
    """

    class Params(config.Params):
        """Settings of the recurrent decoder."""

        hidden: int = Field(default=16, ge=1, description="states per direction")
        dropout: float = Field(default=0.25, ge=0, lt=1, description="share of inputs and final states left out")
        lr: float = Field(default=1e-2, gt=0, description="learning rate of Adam")
        batch: int = Field(default=32, ge=1, description="samples per step")
        epochs: int = Field(default=150, ge=1, description="most passes over the training samples")
        patience: int = Field(default=20, ge=1, description="passes without improvement before stopping")
        stopping: float = Field(
            default=0.2, gt=0, lt=1, description="share of each class's training samples that decides when to stop"
        )
        standardise: bool = Field(default=True, description="z-score each frame and feature on the training samples")
        seed: int = Field(default=0, ge=0, description="seed of weights, order, dropout and of the stopping samples")

    tasks = frozenset({"classify"})
    citation = "Cho et al. (2014), EMNLP 1724-1734, doi:10.3115/v1/D14-1179"
    sequential: ClassVar[bool] = True
    vectorised: ClassVar[bool] = True
    shuffles: ClassVar[int] = 20
    refits: ClassVar[bool] = False

    params: Params

    @classmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return the one setting there is; early stopping takes the place of tuning."""
        return [params]

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Train: features shape (sample, time, feature) or (sample, feature), target shape (sample,)."""
        self._classes, labels = np.unique(target, return_inverse=True)
        self._several = _Several(self.params, features, labels[:, None])
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class of each sample, shape (sample,)."""
        return self._classes[self._several.predict(features)[:, 0]]

    @classmethod
    def predict_path(
        cls,
        candidates: Sequence[Params],
        task: Task,
        train: np.ndarray,
        targets: np.ndarray,
        test: np.ndarray,
    ) -> np.ndarray:
        """Train one network per column, all side by side; classes are integers from 0.

        Returns
        -------
        numpy.ndarray
            Predictions, shape (candidate, test sample, column).
        """
        found = [_Several(params, train, targets.astype(int)).predict(test) for params in candidates]
        return np.stack(found).astype(targets.dtype)


class _Several:
    """Networks trained on the same samples, one per column of labels, integers from 0; shape (sample, column)."""

    def __init__(self, params: GRU.Params, features: np.ndarray, labels: np.ndarray) -> None:
        frames = _frames(features)
        self._scale = Standardiser.fit(frames, params.standardise)
        self._only = np.where((labels == labels[:1]).all(axis=0), labels[0], -1)
        self._learnt = np.flatnonzero(self._only < 0)
        if self._learnt.size:
            columns = labels.T[self._learnt]
            stopping = np.stack([stopping_samples(column, params.stopping, params.seed) for column in columns])
            names = ("hidden", "dropout", "lr", "batch", "epochs", "patience", "seed")
            settings = Fitting(**{name: getattr(params, name) for name in names})
            self._nets = fit_trial_classifiers(self._scale(frames), columns, stopping, settings)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class, shape (sample, column); the only one where there was no other."""
        out = np.repeat(self._only[None], len(features), axis=0)
        if self._learnt.size:
            out[:, self._learnt] = self._nets.probabilities(self._scale(_frames(features))).argmax(axis=-1).T
        return out


def _frames(features: np.ndarray) -> np.ndarray:
    return features if features.ndim == 3 else features[:, None]


def stopping_samples(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose a share of every class at random, at least one sample of it unless it is the only one.

    Parameters
    ----------
    labels
        Classes, shape (sample,), of two or more values.

    Returns
    -------
    numpy.ndarray
        bool, shape (sample,).
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(labels.size, dtype=bool)
    for name in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == name))
        chosen[rows[: min(rows.size - 1, max(1, round(share * rows.size)))]] = True
    return chosen
