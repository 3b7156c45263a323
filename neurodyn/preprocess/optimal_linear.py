"""The optimal linear estimator of a patch of pixels seen in two channels: covariances in, weights out.

Model, for the p pixels of a patch, zero-mean ΔF/F: y₁ = x + z + η and y₂ = A z + ξ, where x is calcium, z
hemodynamics, A an unknown invertible mixing, and η and ξ white noise of variances σ_η² and σ_ξ²; all four are
uncorrelated. With y = [y₁; y₂] and its covariance P_y = [[P₁, P₁₂], [P₁₂ᵀ, P₂]], A cancels:

P_z = P₁₂ (P₂ - σ_ξ² I)⁻¹ P₁₂ᵀ,  P_x = P₁ - σ_η² I - P_z,  x̂ = [P_x, 0] P_y⁻¹ y,  ẑ = [P_z, P₁₂] P_y⁻¹ y.

Lohani, Moberly et al., Nat Neurosci 25, 1706 (2022).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve

Output = Literal["denoise", "subtract"]
Form = Literal["stable", "literal"]
Noise = tuple[float, float]

EDGE_MARGIN = 1.02
RIDGE = 1e-6


@dataclass(frozen=True)
class Estimate:
    """Weights of some pixels of a patch, and what they rest on.

    Parameters
    ----------
    weights
        Shape (centre, 2 p): output of each centre pixel = weights @ [y₁; y₂].
    noise
        σ_η² and σ_ξ², variances in (ΔF/F)².
    rank
        Dimensions of the reference channel above its noise.
    crowded
        Half of a channel's eigenvalues or more stand above the noise, so that their median is no noise variance.
    """

    weights: np.ndarray
    noise: Noise
    rank: int
    crowded: bool


def noise_edge(noise: float, pixels: int, frames: float) -> float:
    """Return the largest eigenvalue that white noise alone is expected to give.

    1.02 σ² (1 + √(p/T))²: the Marchenko-Pastur edge with a margin of 2 %.

    Parameters
    ----------
    frames
        T; infinity for a population covariance.
    """
    return EDGE_MARGIN * noise * (1 + math.sqrt(pixels / frames)) ** 2


def hemodynamic_factor(
    cross: np.ndarray, values: np.ndarray, vectors: np.ndarray, noise: float, edge: float
) -> np.ndarray:
    """Return G with P_z = G Gᵀ = Σ_k (P₁₂ v_k)(P₁₂ v_k)ᵀ / (λ_k - σ_ξ²) over λ_k above the edge, shape (p, rank).

    Parameters
    ----------
    cross
        P₁₂, shape (p, p).
    values, vectors
        Eigenvalues λ, ascending, shape (p,), and eigenvectors v of P₂, shape (p, p).
    noise
        σ_ξ².
    edge
        Eigenvalues up to here are noise.
    """
    kept = values > max(edge, values[-1] * values.size * np.finfo(np.float64).eps)
    return cross @ vectors[:, kept] / np.sqrt(values[kept] - noise)


def positive_part(matrix: np.ndarray) -> np.ndarray:
    """Return the nearest positive semidefinite matrix to a symmetric one: its negative eigenvalues become 0."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0)) @ vectors.T


def stable_estimate(
    joint: np.ndarray, centres: np.ndarray, frames: float, output: Output = "denoise", noise: Noise | None = None
) -> Estimate:
    """Estimate in a form that sampling noise cannot blow up.

    P_z keeps the eigenvectors of P₂ above the Marchenko-Pastur edge, P_x its positive semidefinite part, and P_y a
    ridge of 1e-6 of its mean eigenvalue. Output "denoise" is x̂, "subtract" is y₁ - ẑ.

    Parameters
    ----------
    joint
        P_y, shape (2 p, 2 p), the calcium channel's pixels first.
    centres
        Pixels of the patch to estimate, shape (centre,).
    frames
        Frames the covariance was taken over.
    noise
        σ_η² and σ_ξ² where they are known; by default the median eigenvalues of P₁ and P₂, which needs the ranks of
        x and z together to stay below p/2.
    """
    p = joint.shape[0] // 2
    first, cross, second = joint[:p, :p], joint[:p, p:], joint[p:, p:]
    values, vectors = np.linalg.eigh(second)
    spectrum = np.linalg.eigvalsh(first)
    eta, xi = noise or (float(np.median(spectrum)), float(np.median(values)))
    factor = hemodynamic_factor(cross, values, vectors, xi, noise_edge(xi, p, frames))
    blood = factor @ factor.T
    above = [int((s > noise_edge(n, p, frames)).sum()) for s, n in ((spectrum, eta), (values, xi))]
    if output == "denoise":
        calcium = positive_part(first - eta * np.eye(p) - blood)
        targets = np.hstack([calcium[centres], np.zeros((centres.size, p))])
        return Estimate(_solve(joint, targets), (eta, xi), factor.shape[1], 2 * max(above) >= p - 1)
    weights = -_solve(joint, np.hstack([blood[centres], cross[centres]]))
    weights[np.arange(centres.size), centres] += 1
    return Estimate(weights, (eta, xi), factor.shape[1], 2 * max(above) >= p - 1)


def _solve(joint: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return targets (P_y + ε I)⁻¹, shape of `targets`."""
    ridge = RIDGE * np.trace(joint) / joint.shape[0]
    return cho_solve(cho_factor(joint + ridge * np.eye(joint.shape[0]), lower=True), targets.T).T


def literal_estimate(
    joint: np.ndarray, centres: np.ndarray, output: Output = "denoise", noise: Noise | None = None
) -> Estimate:
    """Estimate by the equations as they stand, both inverses as pseudo-inverses; unstable on sampled covariances.

    Subtracting the median makes half of the eigenvalues of P₂ - σ_ξ² I negative and one near 0, whose inverse is
    noise. For comparison with the publication only.

    Parameters
    ----------
    joint, centres, noise
        As in `stable_estimate`.
    """
    p = joint.shape[0] // 2
    first, cross, second = joint[:p, :p], joint[:p, p:], joint[p:, p:]
    spectra = np.linalg.eigvalsh(first), np.linalg.eigvalsh(second)
    eta, xi = noise or (float(np.median(spectra[0])), float(np.median(spectra[1])))
    blood = cross @ _pseudo_inverse(second - xi * np.eye(p)) @ cross.T
    inverse = _pseudo_inverse(joint)
    if output == "denoise":
        calcium = first - eta * np.eye(p) - blood
        weights = calcium[centres] @ inverse[:p]
    else:
        weights = -np.hstack([blood[centres], cross[centres]]) @ inverse
        weights[np.arange(centres.size), centres] += 1
    return Estimate(weights, (eta, xi), p, False)


def _pseudo_inverse(matrix: np.ndarray) -> np.ndarray:
    """Return the pseudo-inverse with the tolerance d ε that MATLAB's pinv has."""
    return np.linalg.pinv(matrix, rcond=matrix.shape[0] * np.finfo(np.float64).eps, hermitian=True)


def varying(joint: np.ndarray) -> np.ndarray:
    """Return which pixels of a patch vary in both channels, bool, shape (p,)."""
    power = np.diag(joint).reshape(2, -1)
    return np.all(power > np.finfo(np.float32).eps ** 2, axis=0)


def estimate(
    joint: np.ndarray,
    centres: np.ndarray,
    frames: float,
    output: Output = "denoise",
    noise: Noise | None = None,
    form: Form = "stable",
) -> Estimate:
    """Estimate from the pixels that vary; centre pixels that do not keep their own value.

    Parameters
    ----------
    joint
        Covariance of both channels, shape (2 p, 2 p).
    centres
        Pixels to estimate, shape (centre,).
    noise
        Noise variances of the channels, or None for the median eigenvalues.
    form
        "stable" or "literal".
    """
    vary, p = varying(joint), joint.shape[0] // 2
    if not vary[centres].any():
        return Estimate(np.eye(p, 2 * p)[centres], (0.0, 0.0), 0, False)
    kept = np.flatnonzero(np.tile(vary, 2))
    inner = np.searchsorted(np.flatnonzero(vary), centres[vary[centres]])
    part = joint[np.ix_(kept, kept)]
    if form == "literal":
        found = literal_estimate(part, inner, output, noise)
    else:
        found = stable_estimate(part, inner, frames, output, noise)
    weights = np.eye(p, 2 * p)[centres]
    weights[np.ix_(vary[centres], kept)] = found.weights
    return dataclasses.replace(found, weights=weights)


def correlations(weights: np.ndarray, joint: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation with the reference of the signal and of the output, 0 where one is constant.

    Parameters
    ----------
    weights
        Shape (centre, 2 p).
    joint
        Covariance of both channels, shape (2 p, 2 p).

    Returns
    -------
    tuple
        Before and after, each shape (centre,).
    """
    p = joint.shape[0] // 2
    power = np.diag(joint)
    made = np.einsum("ci,ij,cj->c", weights, joint, weights, optimize=True)
    pairs = (
        (joint[centres, centres + p], power[centres]),
        ((weights @ joint)[np.arange(centres.size), centres + p], made),
    )
    scales = [np.sqrt(np.maximum(own * power[centres + p], 0)) for _, own in pairs]
    before, after = (
        np.divide(cross, scale, out=np.zeros(centres.size), where=scale > 0)
        for (cross, _), scale in zip(pairs, scales, strict=True)
    )
    return before, after
