"""A gated recurrent unit over time, forwards and backwards.

Arrays are float32 and time first. Weights of a gated recurrent unit are stacked as update z, reset r, candidate n. Only
what must go step by step is here: products that can wait until the end of the loop are one large product outside.
"""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled

SATURATED = np.float32(9.0)
ONE, TWO, HALF = np.float32(1.0), np.float32(2.0), np.float32(0.5)


@compiled
def tanh(x: np.float32) -> np.float32:
    """Return tanh(x) to 2e-7, in arithmetic that vector units do.

    Lambert's continued fraction a / b at x / 4; then tanh 2y = 2 tanh y / (1 + tanh² y) twice, as 2ab / (a² + b²), so that
    there is one division.
    """
    y = min(max(x, -SATURATED), SATURATED) * np.float32(0.25)
    s = y * y
    a = y * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
    b = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
    a, b = TWO * a * b, a * a + b * b
    return TWO * a * b / (a * a + b * b)


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x))."""
    return HALF + HALF * tanh(HALF * x)


@compiled
def cell(
    pre: np.ndarray,
    h: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    gates: np.ndarray,
    reset: np.ndarray,
    scratch: np.ndarray,
    out: np.ndarray,
) -> None:
    """Take one step: h' = z h + (1 - z) tanh(pre_n + (r h) U_n), with z, r = sigmoid(pre + h U).

    Parameters
    ----------
    pre
        Input part of the gates, shape (batch, 3 hidden).
    gate_weights, candidate_weights
        U of shapes (hidden, 2 hidden) and (hidden, hidden).
    gates, reset, out
        Written: z, r, n; r h; h'.
    scratch
        Shape (2, batch, 2 hidden), flat behind; overwritten.
    """
    count, hidden = h.shape
    recurrent = scratch[0]
    np.dot(h, gate_weights, recurrent)
    for b in range(count):
        for j in range(2 * hidden):
            gates[b, j] = sigmoid(pre[b, j] + recurrent[b, j])
        for j in range(hidden):
            reset[b, j] = gates[b, hidden + j] * h[b, j]
    candidate = scratch[1].reshape(-1)[: count * hidden].reshape(count, hidden)
    np.dot(reset, candidate_weights, candidate)
    for b in range(count):
        for j in range(hidden):
            n = tanh(pre[b, 2 * hidden + j] + candidate[b, j])
            z = gates[b, j]
            gates[b, 2 * hidden + j] = n
            out[b, j] = z * h[b, j] + (ONE - z) * n


@compiled
def cell_back(
    d_out: np.ndarray,
    h: np.ndarray,
    gates: np.ndarray,
    gate_weights_t: np.ndarray,
    candidate_weights_t: np.ndarray,
    scratch: np.ndarray,
    d_pre: np.ndarray,
    d_h: np.ndarray,
) -> None:
    """Differentiate one step: write the gradients of `pre` and h from that of h'.

    Parameters
    ----------
    gate_weights_t, candidate_weights_t
        Transposed U, contiguous: (2 hidden, hidden) and (hidden, hidden).
    """
    count, hidden = h.shape
    d_candidate = scratch[0].reshape(-1)[: count * hidden].reshape(count, hidden)
    d_reset = scratch[1].reshape(-1)[: count * hidden].reshape(count, hidden)
    d_gates = scratch[0]
    for b in range(count):
        for j in range(hidden):
            z, n = gates[b, j], gates[b, 2 * hidden + j]
            d_candidate[b, j] = d_out[b, j] * (ONE - z) * (ONE - n * n)
            d_pre[b, 2 * hidden + j] = d_candidate[b, j]
    np.dot(d_candidate, candidate_weights_t, d_reset)
    for b in range(count):
        for j in range(hidden):
            z, r, n = gates[b, j], gates[b, hidden + j], gates[b, 2 * hidden + j]
            d_gates[b, j] = d_out[b, j] * (h[b, j] - n) * z * (ONE - z)
            d_gates[b, hidden + j] = d_reset[b, j] * h[b, j] * r * (ONE - r)
            d_h[b, j] = d_out[b, j] * z + d_reset[b, j] * r
        for j in range(2 * hidden):
            d_pre[b, j] = d_gates[b, j]
    through = scratch[1].reshape(-1)[: count * hidden].reshape(count, hidden)
    np.dot(d_gates, gate_weights_t, through)
    for b in range(count):
        for j in range(hidden):
            d_h[b, j] += through[b, j]


@compiled
def scan(
    pre: np.ndarray, gate_weights: np.ndarray, candidate_weights: np.ndarray, states: np.ndarray, backwards: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Run a gated recurrent unit over `pre`, shape (time, batch, 3 hidden).

    Parameters
    ----------
    states
        Shape (time + 1, batch, hidden). The first (the last, if `backwards`) holds the initial state; the others are
        written.

    Returns
    -------
    gates
        Shape (time, batch, 3 hidden).
    reset
        r h, shape (time, batch, hidden).
    """
    frames, count, hidden = pre.shape[0], pre.shape[1], states.shape[2]
    gates = np.empty_like(pre)
    reset = np.empty((frames, count, hidden), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    for step in range(frames):
        t = frames - 1 - step if backwards else step
        before, after = (t + 1, t) if backwards else (t, t + 1)
        cell(
            pre[t], states[before], gate_weights, candidate_weights, gates[t], reset[t], scratch, states[after]
        )  # fmt: skip
    return gates, reset


@compiled
def scan_back(
    d_states: np.ndarray,
    states: np.ndarray,
    gates: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    backwards: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Differentiate `scan`.

    Parameters
    ----------
    d_states
        Gradient of the new states, shape (time, batch, hidden), in the order of time.

    Returns
    -------
    d_pre
        Shape (time, batch, 3 hidden).
    d_initial
        Shape (batch, hidden).
    """
    frames, count, hidden = d_states.shape
    gate_weights_t = np.ascontiguousarray(gate_weights.T)
    candidate_weights_t = np.ascontiguousarray(candidate_weights.T)
    d_pre = np.empty_like(gates)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    carry = np.zeros((count, hidden), np.float32)
    total = np.empty((count, hidden), np.float32)
    for step in range(frames):
        t = step if backwards else frames - 1 - step
        before = t + 1 if backwards else t
        for b in range(count):
            for j in range(hidden):
                total[b, j] = carry[b, j] + d_states[t, b, j]
        cell_back(
            total, states[before], gates[t], gate_weights_t, candidate_weights_t, scratch, d_pre[t], carry
        )  # fmt: skip
    return d_pre, carry
