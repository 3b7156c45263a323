"""Co-smoothing: cells predicted from the others, what linear models make of it, and its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from neurodyn.metrics.alignment import LEAST_RATE
from neurodyn.metrics.factor_analysis import FactorAnalysis, principal, standardised

SCALES = (0.0, 0.1, 0.3, 1.0)
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
COURSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
OWN_NOISE = 1e-3
HELD_OUT = 0.2
REACH = 4.0  # widths to which half a Gaussian reaches back, as far as scipy's whole ones do
LEAST_SHARE = 0.1

Hidden = Callable[[np.ndarray, np.ndarray], np.ndarray]


def groups_of(cells: int, most: int, seed: int = 0) -> list[np.ndarray]:
    """Deal cells at random into the groups that are hidden in turn; each cell is alone where there are enough groups.

    Parameters
    ----------
    most
        Most groups.
    """
    order = np.random.default_rng(seed).permutation(cells)
    return [np.sort(group) for group in np.array_split(order, max(1, min(most, cells)))]


@dataclass(frozen=True)
class References:
    """Linear models that are asked what a model is asked: hidden cells, from the others in the same windows.

    `ridge`: ridge regression on the others in the same frame, and `ridge, 4 time scales` on their courses smoothed by
    Gaussians of 0, 0.1, 0.3 and 1 s, or by their past halves, both with the penalty that predicts the last fifth of the training windows best.
    `PCA`: probabilistic principal components; `factor analysis`; and `GPFA`, factor analysis whose factors, turned so that
    the noise of all cells leaves them independent, are `GaussianProcessFactors`. The last three give the exact posterior mean of the factors from the cells that are seen. Missing
    data count as their cells' means.

    Parameters
    ----------
    mean, scale
        Of the training data, shape (cell,).
    predictors
        By name: what gives hidden cells, standardised, from standardised windows, shape (window, time, cell), and the
        hidden cells' numbers.
    """

    mean: np.ndarray
    scale: np.ndarray
    predictors: dict[str, Hidden]

    @classmethod
    def fit(
        cls, train: np.ndarray, dimensions: int, rate_hz: float, groups: Sequence[np.ndarray], past: bool = False
    ) -> References:
        """Fit to training windows, in order of time.

        Parameters
        ----------
        train
            Shape (window, time, cell), NaN where there is no datum.
        dimensions
            Of PCA, factor analysis and GPFA; at most one less than there are cells.
        groups
            The cells that will be hidden together, for the choice of penalties.
        past
            Ridge regression reads frames up to the current one alone.
        """
        mean, scale, standard = standardised(train)
        known = np.where(np.isfinite(train), standard, np.nan)
        found = FactorAnalysis.fit(known.reshape(-1, train.shape[-1]), dimensions)
        smooth = [scale_s * rate_hz for scale_s in SCALES]
        predictors: dict[str, Hidden] = {
            "ridge": _Ridge.fit(standard, [0.0], groups),
            "ridge, 4 time scales": _Ridge.fit(standard, smooth, groups, past),
            f"PCA {dimensions}": principal(standard, dimensions).hidden,
            f"factor analysis {dimensions}": found.hidden,
            f"GPFA {dimensions}": GaussianProcessFactors.fit(found, standard, rate_hz),
        }
        return cls(mean, scale, predictors)

    def __call__(self, windows: np.ndarray, groups: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return what every model says of cells hidden group by group, in the data's unit, like `windows`."""
        standard = np.nan_to_num((windows - self.mean) / self.scale)
        found = {name: np.empty_like(standard) for name in self.predictors}
        for group in groups:
            for name, predict in self.predictors.items():
                found[name][..., group] = predict(standard, group)
        return {name: self.mean + self.scale * values for name, values in found.items()}


@dataclass(frozen=True)
class _Ridge:
    """Cells by ridge regression on the others' courses, smoothed by Gaussians of several widths, frames, or past halves."""

    widths: Sequence[float]
    moments: np.ndarray
    penalty: float
    past: bool = False

    @classmethod
    def fit(
        cls, standard: np.ndarray, widths: Sequence[float], groups: Sequence[np.ndarray], past: bool = False
    ) -> _Ridge:
        courses = _smoothed(standard, widths, past)
        edge = min(max(1, round((1 - HELD_OUT) * len(courses))), len(courses) - 1)
        early, late = (_moments(part) for part in (courses[:edge], courses[edge:]))
        errors = [sum(cls(widths, early, penalty).error(late, group) for group in groups) for penalty in PENALTIES]
        return cls(widths, _moments(courses), PENALTIES[int(np.argmin(errors))], past)

    def __call__(self, standard: np.ndarray, group: np.ndarray) -> np.ndarray:
        seen, _, slope = self._slope(standard.shape[-1], group)
        return _smoothed(standard[..., seen], self.widths, self.past) @ slope

    def error(self, moments: np.ndarray, group: np.ndarray) -> float:
        """Return the squared error of hidden cells, added up, in data of these moments."""
        _, columns, slope = self._slope(len(moments) // len(self.widths), group)
        crossed = (slope * moments[np.ix_(columns, group)]).sum()
        told = (slope * (moments[np.ix_(columns, columns)] @ slope)).sum()
        return float(moments[group, group].sum() - 2 * crossed + told)

    def _slope(self, cells: int, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the cells that are seen, the columns of their courses, and the weights of these."""
        seen = np.delete(np.arange(cells), group)
        columns = (seen + cells * np.arange(len(self.widths))[:, None]).ravel()
        gram = self.moments[np.ix_(columns, columns)] + self.penalty * np.eye(len(columns))
        # a cell is its own course of width 0, so its products with the others stand among theirs
        return seen, columns, np.linalg.solve(gram, self.moments[np.ix_(columns, group)])


def _moments(courses: np.ndarray) -> np.ndarray:
    flat = courses.reshape(-1, courses.shape[-1])
    return flat.T @ flat / max(1, len(flat))


def _smoothed(standard: np.ndarray, widths: Sequence[float], past: bool) -> np.ndarray:
    """Return courses smoothed within their windows, one width after the other, shape (window, time, width × cell)."""
    smooth = _from_the_past if past else partial(gaussian_filter1d, axis=1, mode="nearest")
    return np.concatenate([smooth(standard, width) if width else standard for width in widths], axis=2)


def _from_the_past(standard: np.ndarray, width: float) -> np.ndarray:
    """Smooth by the half of a Gaussian that reaches back; before a window its first frame goes on."""
    weights = np.exp(-((np.arange(round(REACH * width) + 1) / width) ** 2) / 2)
    before = np.repeat(standard[:, :1], len(weights) - 1, axis=1)
    whole = lfilter(weights / weights.sum(), 1.0, np.concatenate([before, standard], axis=1), axis=1)
    return np.asarray(whole)[:, len(weights) - 1 :]


@dataclass(frozen=True)
class GaussianProcessFactors:
    r"""Factor analysis whose factors are Gaussian processes in time, independent of each other.

    .. math:: \operatorname{cov}(z_k(s), z_k(t)) = (1 - \sigma^2) e^{-(s - t)^2 / 2 \tau_k^2} + \sigma^2 \delta_{st}

    Yu et al. 2009, Gaussian-process factor analysis, J Neurophysiol 102:614-635. Loadings and noise are those of factor
    analysis, σ² is 1e-3, as there, and τ that of largest marginal likelihood. Noise that is slow, as calcium makes it, is
    taken for factors: on such data these predict worse than factor analysis does.

    Parameters
    ----------
    model
        Its factors turned so that WᵀΨ⁻¹W is diagonal: with all cells seen they are independent.
    kernels
        Of every factor over the frames of a window, shape (factor, time, time).
    """

    model: FactorAnalysis
    kernels: np.ndarray

    @classmethod
    def fit(cls, model: FactorAnalysis, standard: np.ndarray, rate_hz: float) -> GaussianProcessFactors:
        """Turn the factors, and choose every time constant by the marginal likelihood of training windows.

        Parameters
        ----------
        standard
            Windows in the model's unit, none missing, shape (window, time, cell).
        """
        weighted = model.loadings / model.noise[:, None]
        information, turn = np.linalg.eigh(model.loadings.T @ weighted)
        turned = FactorAnalysis(model.mean, model.loadings @ turn, model.noise)
        known = (standard - model.mean) @ (weighted @ turn) / np.maximum(information, 1e-12)
        kernels = np.stack([_kernel(standard.shape[1], tau * rate_hz) for tau in COURSES])
        courses = np.einsum("wsk,wtk->kst", known, known) / len(known)
        likely = [
            [_evidence(course, kernel, told) for kernel in kernels]
            for course, told in zip(courses, information, strict=True)
        ]
        return cls(turned, kernels[np.argmax(likely, axis=1)])

    def __call__(self, standard: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return hidden cells, shape (window, time, hidden), from the whole course of the others."""
        seen = np.delete(np.arange(standard.shape[-1]), group)
        frames, (_, factors) = standard.shape[1], self.model.loadings.shape
        weighted = self.model.loadings[seen] / self.model.noise[seen, None]
        told = (standard[..., seen] - self.model.mean[seen]) @ weighted
        prior = np.zeros((frames, factors, frames, factors))
        for k, kernel in enumerate(self.kernels):
            prior[:, k, :, k] = kernel
        prior = prior.reshape(frames * factors, -1)
        # z = (K⁻¹ + I ⊗ G)⁻¹ h = (I + K (I ⊗ G))⁻¹ K h, which needs no inverse of K
        information = np.kron(np.eye(frames), self.model.loadings[seen].T @ weighted)
        matrix = np.linalg.solve(np.eye(len(prior)) + prior @ information, prior)
        courses = (told.reshape(len(told), -1) @ matrix.T).reshape(told.shape)
        return self.model.mean[group] + courses @ self.model.loadings[group].T


def _kernel(frames: int, tau: float) -> np.ndarray:
    apart = np.subtract.outer(np.arange(frames), np.arange(frames))
    return (1 - OWN_NOISE) * np.exp(-(apart**2) / (2 * tau**2)) + OWN_NOISE * np.eye(frames)


def _evidence(course: np.ndarray, kernel: np.ndarray, information: float) -> float:
    """Return the log likelihood of a factor's noisy course, by its covariance, shape (time, time), but for a constant."""
    variance, axes = np.linalg.eigh(kernel + np.eye(len(kernel)) / max(information, 1e-12))
    return float(-0.5 * (((axes.T @ course) * axes.T).sum(1) / variance + np.log(variance)).sum())


def r2_sums(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what R² of cells are sums of, shape (window, cell, 4): count, Σ x, Σ x², Σ (x − x̂)² over known frames."""
    known = np.isfinite(target)
    x = np.where(known, target, 0.0).astype(np.float64)
    error = np.where(known, x - predicted, 0.0)
    return np.stack([term.sum(axis=1) for term in (known, x, x**2, error**2)], axis=-1)


def r2_of_cells(sums: np.ndarray) -> np.ndarray:
    """Return R² = 1 − Σ (x − x̂)² / Σ (x − x̄)² of every cell; NaN where it does not change.

    Parameters
    ----------
    sums
        Added up over windows, shape (cell, 4).
    """
    count, x, squares, error = sums.T
    total = squares - x**2 / np.maximum(count, 1)
    return np.where(total > 1e-12 * np.maximum(squares, 1e-300), 1 - error / np.where(total > 0, total, 1), np.nan)


def spike_sums(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what bits per spike of cells are sums of, shape (window, cell, 2): Σ n log(λ / λ̄) − (λ − λ̄), nats, and Σ n.

    Pei et al. 2021, Neural Latents Benchmark; the null λ̄ is each cell's mean. What says less than a tenth of it, as linear
    models do, which know of no positive rates, is taken to say a tenth.
    """
    known = np.isfinite(target)
    null = np.maximum(np.nanmean(np.where(known, target, np.nan), axis=(0, 1)), LEAST_RATE)
    rate, counts = np.maximum(predicted, LEAST_SHARE * null), np.where(known, target, 0.0)
    gain = np.where(known, counts * np.log(rate / null) - (rate - null), 0.0)
    return np.stack([gain.sum(axis=1), counts.sum(axis=1)], axis=-1)
