"""Rotations in population activity: a linear system that can only rotate, fitted to how the state moves on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

SOFTEN = 5.0
COMPONENTS = 6
LEAST_VARIANCE = 1e-8  # of the first component's; less is round-off, whose turns mean nothing


@dataclass(frozen=True)
class Rotation:
    """What jPCA finds.

    Parameters
    ----------
    r2_skew
        1 − |dX − X Mᵀ|² / |dX|² with M skew-symmetric: how much of the motion is rotation.
    r2_unconstrained
        The same with any M: how much of it a linear system explains.
    plane_variance
        Share of the variance across conditions that lies in the first plane.
    frequency_hz
        Turns per second in the first plane.
    plane
        Orthonormal axes of the first plane, shape (unit, 2), in the units' (softened) coordinates.
    projections
        The states in the first plane, shape (condition, time, 2).
    matrix
        M, per frame, shape (component, component).
    """

    r2_skew: float
    r2_unconstrained: float
    plane_variance: float
    frequency_hz: float
    plane: np.ndarray
    projections: np.ndarray
    matrix: np.ndarray

    @property
    def ratio(self) -> float:
        """r2_skew / r2_unconstrained: 1 where the linear part of the motion is pure rotation."""
        return self.r2_skew / self.r2_unconstrained if self.r2_unconstrained > 0 else float("nan")


def jpca(
    courses: np.ndarray, rate_hz: float, *, components: int = COMPONENTS, soften: float | None = SOFTEN
) -> Rotation:
    """Fit jPCA to condition averages.

    Units are divided by (range + soften), their mean over conditions is taken off in every frame, and principal
    components keep `components` dimensions X. With dX the first difference in time and X the states it starts from,
    M = argmin |dX − X Mᵀ|² over skew-symmetric matrices. The first plane belongs to the eigenvalue of M with the largest
    imaginary part λ: of its eigenvector the real and imaginary part, turned so that the states at the start vary most
    along the first axis. A turn by the angle θ in each frame gives λ = sin θ, hence the frequency
    arcsin(λ) · rate / 2π.

    Source: Churchland et al., Nature 487, 51 (2012), and the methods of its published code.

    Parameters
    ----------
    courses
        Rates (Hz) or latents averaged over the trials of a condition, shape (condition, time, unit).
    rate_hz
        Frames per second.
    components
        Dimensions kept; fewer where the courses have fewer.
    soften
        Added to each unit's range before dividing by it, in the unit of `courses`; None: no division, for latents.
    """
    scaled = courses.astype(np.float64) if soften is None else _softened(courses, soften)
    centred = scaled - scaled.mean(axis=0)
    axes = _principal_axes(centred, components)
    states = centred @ axes
    before, change = _pairs(states)
    matrix = _skew_fit(before, change)
    free = np.linalg.lstsq(before, change, rcond=None)[0]
    plane, speed = _first_plane(matrix, states[:, 0])
    whole = np.sum((centred - centred.mean(axis=(0, 1))) ** 2)
    projections = states @ plane
    return Rotation(
        r2_skew=_explained(change, before @ matrix.T),
        r2_unconstrained=_explained(change, before @ free),
        plane_variance=float(np.sum(projections**2) / whole) if whole > 0 else float("nan"),
        frequency_hz=float(np.arcsin(min(speed, 1.0)) * rate_hz / (2 * np.pi)),
        plane=axes @ plane,
        projections=projections,
        matrix=matrix,
    )


def condition_averages(values: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Average windows of the same condition, in the order of the conditions' values.

    Parameters
    ----------
    values
        Shape (window, time, unit).
    condition
        Shape (window,).

    Returns
    -------
    np.ndarray
        Shape (condition, time, unit).
    """
    return np.stack([values[condition == name].mean(axis=0, dtype=np.float64) for name in np.unique(condition)])


def plane_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return how much two planes share: the mean squared cosine of their principal angles, 0 to 1.

    Björck & Golub 1973, Numerical methods for computing angles between linear subspaces.

    Parameters
    ----------
    first, second
        Vectors that span them, shape (unit, 2).
    """
    one, other = (np.linalg.qr(axes)[0] for axes in (first, second))
    return float(np.mean(np.linalg.svd(one.T @ other, compute_uv=False) ** 2))


def _softened(courses: np.ndarray, soften: float) -> np.ndarray:
    flat = courses.reshape(-1, courses.shape[-1]).astype(np.float64)
    return courses / (np.ptp(flat, axis=0) + soften)


def _principal_axes(centred: np.ndarray, components: int) -> np.ndarray:
    """Return orthonormal axes, shape (unit, component), those of more variance first, none of them empty."""
    flat = centred.reshape(-1, centred.shape[-1])
    _, size, axes = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    filled = int(np.sum(size**2 > LEAST_VARIANCE * size[0] ** 2))
    return axes[: max(2, min(components, filled))].T


def _pairs(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return states and their change to the next frame, each shape (sample, component)."""
    size = states.shape[-1]
    return states[:, :-1].reshape(-1, size), np.diff(states, axis=1).reshape(-1, size)


def _skew_fit(before: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Solve min |change − before Mᵀ|² over skew-symmetric M by least squares in their basis, one pair of axes each."""
    size = before.shape[1]
    pairs = list(combinations(range(size), 2))
    moved = np.zeros((before.shape[0], size, len(pairs)))  # before Kᵀ for each basis matrix K
    for k, (i, j) in enumerate(pairs):
        moved[:, i, k], moved[:, j, k] = before[:, j], -before[:, i]
    weights = np.linalg.lstsq(moved.reshape(-1, len(pairs)), change.ravel(), rcond=None)[0]
    matrix = np.zeros((size, size))
    for weight, (i, j) in zip(weights, pairs, strict=True):
        matrix[i, j], matrix[j, i] = weight, -weight
    return matrix


def _first_plane(matrix: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Return orthonormal axes of the fastest plane, shape (component, 2), and its |λ|."""
    speeds, vectors = np.linalg.eigh(-1j * matrix)  # M v = iλ v; ascending, in pairs of opposite sign
    plane = np.linalg.qr(np.stack([np.real(vectors[:, -1]), np.imag(vectors[:, -1])], axis=1))[0]
    spread = start @ plane
    turn = np.linalg.svd(spread - spread.mean(axis=0))[2].T
    plane = plane @ turn
    if (plane.T @ matrix @ plane)[1, 0] < 0:  # so that states turn counter-clockwise
        plane[:, 1] *= -1
    return plane, float(speeds[-1])


def _explained(change: np.ndarray, predicted: np.ndarray) -> float:
    power = np.sum(change**2)
    return float(1 - np.sum((change - predicted) ** 2) / power) if power > 0 else float("nan")
