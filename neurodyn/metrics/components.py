"""Principal directions of a matrix."""

from __future__ import annotations

import numpy as np


def thin_svd(centred: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the leading singular triples through the smaller of the two product matrices.

    Many times faster than a decomposition of the matrix itself, and good enough for values that stand out from noise; those
    below 1e-5 of the largest are left out.

    Parameters
    ----------
    centred
        Shape (row, column).
    components
        At most so many triples.

    Returns
    -------
    tuple
        Left vectors (row, triple), values (triple,), largest first, and right vectors (triple, column).
    """
    tall = centred.shape[0] >= centred.shape[1]
    values, vectors = np.linalg.eigh((centred.T @ centred if tall else centred @ centred.T).astype(np.float64))
    values, vectors = values[::-1][:components], vectors[:, ::-1][:, :components]
    keep = values > 1e-10 * values[0]
    scale, vectors = np.sqrt(values[keep]), vectors[:, keep]
    other = (centred @ vectors if tall else centred.T @ vectors) / scale
    left, right = (other, vectors) if tall else (vectors, other)
    return left, scale, right.T
