"""A gated recurrent unit over time, forwards and backwards.

Arrays are float32 and time first. Weights of a gated recurrent unit are stacked as update z, reset r, candidate n. Only
what must go step by step is here: products that can wait until the end of the loop are one large product outside. An inner
loop that writes an array which it reads at another place is not compiled to vector instructions: hence several short ones.
"""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled
from neurodyn.compiled.elementary import ONE, sigmoid, tanh


@compiled
def cell(
    gates: np.ndarray,
    bias: np.ndarray,
    h: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    reset: np.ndarray,
    scratch: np.ndarray,
    out: np.ndarray,
) -> None:
    """Take one step: h' = z h + (1 - z) tanh(pre_n + (r h) U_n), with z, r = sigmoid(pre + h U).

    Parameters
    ----------
    gates
        Input part of the gates without their bias, shape (batch, 3 hidden); overwritten by z, r, n.
    bias
        Shape (3 hidden,).
    gate_weights, candidate_weights
        U of shapes (hidden, 2 hidden) and (hidden, hidden).
    reset, out
        Written: r h; h'.
    scratch
        Shape (2, batch, 2 hidden), flat behind; overwritten.
    """
    count, hidden = h.shape
    recurrent = scratch[0]
    np.dot(h, gate_weights, recurrent)
    for b in range(count):
        for j in range(2 * hidden):
            gates[b, j] = sigmoid(gates[b, j] + bias[j] + recurrent[b, j])
        for j in range(hidden):
            reset[b, j] = gates[b, hidden + j] * h[b, j]
    candidate = scratch[1].reshape(-1)[: count * hidden].reshape(count, hidden)
    np.dot(reset, candidate_weights, candidate)
    for b in range(count):
        for j in range(hidden):
            candidate[b, j] = tanh(gates[b, 2 * hidden + j] + bias[2 * hidden + j] + candidate[b, j])
        for j in range(hidden):
            gates[b, 2 * hidden + j] = candidate[b, j]
        for j in range(hidden):
            out[b, j] = gates[b, j] * (h[b, j] - candidate[b, j]) + candidate[b, j]


@compiled
def cell_back(
    d_out: np.ndarray,
    h: np.ndarray,
    gates: np.ndarray,
    gate_weights_t: np.ndarray,
    candidate_weights_t: np.ndarray,
    scratch: np.ndarray,
    d_h: np.ndarray,
) -> None:
    """Differentiate one step: write the gradient of h from that of h', and that of the input part over `gates`.

    Parameters
    ----------
    gate_weights_t, candidate_weights_t
        Transposed U, contiguous: (2 hidden, hidden) and (hidden, hidden).
    """
    count, hidden = h.shape
    d_gates, rest = scratch[0], scratch[1].reshape(-1)
    d_candidate = rest[: count * hidden].reshape(count, hidden)
    d_reset = rest[count * hidden :].reshape(count, hidden)
    for b in range(count):
        for j in range(hidden):
            z, n = gates[b, j], gates[b, 2 * hidden + j]
            d_gates[b, j] = d_out[b, j] * (h[b, j] - n) * z * (ONE - z)
            d_candidate[b, j] = d_out[b, j] * (ONE - z) * (ONE - n * n)
        for j in range(hidden):
            gates[b, 2 * hidden + j] = d_candidate[b, j]
    np.dot(d_candidate, candidate_weights_t, d_reset)
    for b in range(count):
        for j in range(hidden):
            z, r = gates[b, j], gates[b, hidden + j]
            d_gates[b, hidden + j] = d_reset[b, j] * h[b, j] * r * (ONE - r)
            d_h[b, j] = d_out[b, j] * z + d_reset[b, j] * r
        for j in range(2 * hidden):
            gates[b, j] = d_gates[b, j]
    through = d_candidate
    np.dot(d_gates, gate_weights_t, through)
    for b in range(count):
        for j in range(hidden):
            d_h[b, j] += through[b, j]


@compiled
def scan(
    gates: np.ndarray,
    bias: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    states: np.ndarray,
    backwards: bool,
) -> np.ndarray:
    """Run a gated recurrent unit.

    Parameters
    ----------
    gates
        Input part of the gates, shape (time, batch, 3 hidden); overwritten by z, r, n.
    states
        Shape (time + 1, batch, hidden). The first (the last, if `backwards`) holds the initial state; the others are
        written.

    Returns
    -------
    reset
        r h, shape (time, batch, hidden).
    """
    frames, count, hidden = gates.shape[0], gates.shape[1], states.shape[2]
    reset = np.empty((frames, count, hidden), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    for step in range(frames):
        t = frames - 1 - step if backwards else step
        before, after = (t + 1, t) if backwards else (t, t + 1)
        cell(
            gates[t], bias, states[before], gate_weights, candidate_weights, reset[t], scratch, states[after]
        )  # fmt: skip
    return reset


@compiled
def scan_back(
    d_states: np.ndarray,
    states: np.ndarray,
    gates: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    backwards: bool,
) -> np.ndarray:
    """Differentiate `scan`; the gradient of the gates' input part is written over `gates`.

    Parameters
    ----------
    d_states
        Gradient of the new states, shape (time, batch, hidden), in the order of time.

    Returns
    -------
    d_initial
        Shape (batch, hidden).
    """
    frames, count, hidden = d_states.shape
    gate_weights_t = np.ascontiguousarray(gate_weights.T)
    candidate_weights_t = np.ascontiguousarray(candidate_weights.T)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    carry = np.zeros((count, hidden), np.float32)
    total = np.empty((count, hidden), np.float32)
    for step in range(frames):
        t = step if backwards else frames - 1 - step
        before = t + 1 if backwards else t
        for b in range(count):
            for j in range(hidden):
                total[b, j] = carry[b, j] + d_states[t, b, j]
        cell_back(total, states[before], gates[t], gate_weights_t, candidate_weights_t, scratch, carry)
    return carry
