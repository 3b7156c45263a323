"""What a small transformer does between its products, for many short sequences at once: token first, sequence second.

Arrays are float32. Loops over `LANES` have a length that the compiler knows: it unrolls the inner one and makes vector
instructions of the one around it.
"""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled, inlined
from neurodyn.compiled.elementary import ONE, ZERO, exp

LANES = 16  # features per head, and the most tokens
LOWEST = np.float32(-1e30)
SAFE = np.float32(60.0)  # scores so small need not be taken relative to their largest
SCALE = np.float32(LANES**-0.5)


@compiled
def attend(query: np.ndarray, both: np.ndarray, out: np.ndarray) -> None:
    """Write softmax(Q Kᵀ / √d) V of every sequence and head; a head has d = `LANES` features, a sequence no more tokens.

    Parameters
    ----------
    query
        Shape (query, sequence, width).
    both
        Keys, then values, shape (token, sequence, 2 width).
    out
        Written, like `query`.
    """
    wanted, count, width = query.shape
    tokens = len(both)
    keys, values = np.zeros((LANES, LANES), np.float32), np.zeros((LANES, LANES), np.float32)
    scores, hidden = np.empty((wanted, LANES), np.float32), np.zeros((wanted, LANES), np.float32)
    hidden[:, tokens:] = LOWEST
    for sequence in range(count):
        for first in range(0, width, LANES):
            _read(both, sequence, first, keys, values)
            _score(query, sequence, first, keys, scores)
            _exponentiate(scores, hidden, tokens)
            _mix(scores, values, sequence, first, out)


@inlined
def _read(both: np.ndarray, sequence: int, first: int, keys: np.ndarray, values: np.ndarray) -> None:
    """Copy keys, feature by token, and values, token by feature."""
    width = both.shape[2] // 2
    for j in range(len(both)):
        key = both[j, sequence, first : first + LANES]
        value = both[j, sequence, width + first : width + first + LANES]
        for d in range(LANES):
            keys[d, j] = key[d]
        for d in range(LANES):
            values[j, d] = value[d]


@inlined
def _score(query: np.ndarray, sequence: int, first: int, keys: np.ndarray, scores: np.ndarray) -> None:
    for i in range(len(query)):
        row = query[i, sequence, first : first + LANES]
        for j in range(LANES):
            product = ZERO
            for d in range(LANES):
                product += row[d] * keys[d, j]
            scores[i, j] = product * SCALE


@inlined
def _exponentiate(scores: np.ndarray, hidden: np.ndarray, tokens: int) -> None:
    """Replace scores by their exponentials, those of no token by nothing."""
    flat, offset = scores.reshape(-1), hidden.reshape(-1)
    largest = ZERO
    for n in range(flat.size):
        largest = max(largest, abs(flat[n]))
    if not largest <= SAFE:
        for i in range(len(scores)):
            scores[i] -= scores[i, :tokens].max()
    for n in range(flat.size):
        flat[n] = exp(flat[n] + offset[n])


@inlined
def _mix(scores: np.ndarray, values: np.ndarray, sequence: int, first: int, out: np.ndarray) -> None:
    for i in range(len(scores)):
        row = out[i, sequence, first : first + LANES]
        for d in range(LANES):
            product = total = ZERO
            for j in range(LANES):
                product += scores[i, j] * values[j, d]
                total += scores[i, j]
            row[d] = product / total


@compiled
def add_and_normalise(
    tokens: np.ndarray, added: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: np.float32, out: np.ndarray
) -> None:
    """Write the layer norm of tokens + added, row by row; all of shape (row, width)."""
    count, width = tokens.shape
    for row in range(count):
        token, more, goal = tokens[row], added[row], out[row]
        mean = ZERO
        for f in range(width):
            goal[f] = token[f] + more[f]
            mean += goal[f]
        mean /= np.float32(width)
        square = ZERO
        for f in range(width):
            square += (goal[f] - mean) * (goal[f] - mean)
        scale = ONE / np.sqrt(square / np.float32(width) + eps)
        for f in range(width):
            goal[f] = (goal[f] - mean) * scale * weight[f] + bias[f]
