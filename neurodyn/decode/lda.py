"""Linear discriminant analysis with analytic shrinkage."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from neurodyn.core import config
from neurodyn.decode.base import Decoder


class LDA(Decoder):
    r"""Linear discriminant analysis, its covariance shrunk by the Ledoit-Wolf formula; nothing to tune.

    .. math:: \hat y(x) = \arg\max_k \; x^\top \Sigma^{-1} \mu_k - \tfrac12 \mu_k^\top \Sigma^{-1} \mu_k + \log \pi_k

    References
    ----------
    Ledoit O, Wolf M (2004). Honey, I shrunk the sample covariance matrix. J Portfolio Management 30:110-119.
    """

    class Params(config.Params):
        """The shrinkage decoder has no settings."""

    tasks = frozenset({"classify"})
    citation = "Ledoit & Wolf (2004), J Portfolio Management 30:110-119, doi:10.3905/jpm.2004.110"

    params: Params

    @classmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return the one setting there is."""
        return [params]

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Estimate class means and the shared covariance: features shape (sample, feature), target shape (sample,)."""
        self._only = target[0] if np.unique(target).size == 1 else None
        if self._only is None:
            self._model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
            with warnings.catch_warnings():  # a class of one sample has no spread, and adds none to the covariance
                warnings.filterwarnings("ignore", message="Only one sample available", category=UserWarning)
                self._model.fit(features.astype(np.float64), target)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class of each sample, shape (sample,)."""
        if self._only is not None:
            return np.full(features.shape[0], self._only)
        return np.asarray(self._model.predict(features.astype(np.float64)))
