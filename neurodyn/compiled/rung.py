"""The loop of a ladder's lower rung: controller, spikes and calcium, forwards and backwards."""

from __future__ import annotations

import math

import numpy as np

from neurodyn.compiled.base import compiled
from neurodyn.compiled.gru import HALF, ONE, cell, cell_back


@compiled
def rung(
    pre: np.ndarray,
    feedback: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    posterior: np.ndarray,
    posterior_bias: np.ndarray,
    noise: np.ndarray,
    readout: np.ndarray,
    drive: np.ndarray,
    decay: np.ndarray,
    ceiling: np.float32,
    controls: np.ndarray,
    calcium: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run the rung; every bin's controller sees the calcium of the bin before.

    Parameters
    ----------
    pre
        Input part of the controller's gates, shape (time, batch, 3 hidden).
    feedback
        Calcium to gates, shape (cell, 3 hidden).
    posterior, posterior_bias
        Controller to mean and log variance of z, shapes (hidden, 2 latent) and (2 latent,).
    noise
        Standard normal, shape (time, batch, latent).
    readout
        z to log(1 + spikes), shape (latent, cell).
    drive
        The factors' part of log(1 + spikes), shape (time, batch, cell).
    decay
        Autoregressive coefficients, shape (2, cell).
    ceiling
        Largest log(1 + spikes).
    controls
        Shape (time + 1, batch, hidden); the first is the initial state, the others are written.
    calcium
        Shape (time + 2, batch, cell); the second is the initial calcium, the first the one before it, the others are
        written.

    Returns
    -------
    gates, reset
        Of the controller, as `kernels.scan` gives them.
    moments
        Mean and log variance of z, shape (time, batch, 2 latent).
    samples
        z, shape (time, batch, latent).
    logits
        log(1 + spikes) before the limits, shape (time, batch, cell).
    spikes
        Shape (time, batch, cell).
    """
    frames, count, latent = noise.shape
    hidden, cells = controls.shape[2], decay.shape[1]
    gates = np.empty((frames, count, 3 * hidden), np.float32)
    reset = np.empty((frames, count, hidden), np.float32)
    moments = np.empty((frames, count, 2 * latent), np.float32)
    samples = np.empty((frames, count, latent), np.float32)
    logits = np.empty((frames, count, cells), np.float32)
    spikes = np.empty((frames, count, cells), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    whole = np.empty((count, 3 * hidden), np.float32)
    for t in range(frames):
        np.dot(calcium[t + 1], feedback, whole)
        whole += pre[t]
        cell(whole, controls[t], gate_weights, candidate_weights, gates[t], reset[t], scratch, controls[t + 1])
        np.dot(controls[t + 1], posterior, moments[t])
        for b in range(count):
            for k in range(2 * latent):
                moments[t, b, k] += posterior_bias[k]
            for k in range(latent):
                sd = np.float32(math.exp(HALF * moments[t, b, latent + k]))
                samples[t, b, k] = moments[t, b, k] + sd * noise[t, b, k]
        np.dot(samples[t], readout, logits[t])
        for b in range(count):
            for k in range(cells):
                s = logits[t, b, k] + drive[t, b, k]
                logits[t, b, k] = s
                u = max(np.float32(math.exp(min(s, ceiling))) - ONE, np.float32(0.0))
                spikes[t, b, k] = u
                calcium[t + 2, b, k] = decay[0, k] * calcium[t + 1, b, k] + decay[1, k] * calcium[t, b, k] + u
    return gates, reset, moments, samples, logits, spikes


@compiled
def rung_back(
    d_moments: np.ndarray,
    d_spikes: np.ndarray,
    d_calcium: np.ndarray,
    feedback: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    posterior: np.ndarray,
    noise: np.ndarray,
    readout: np.ndarray,
    decay: np.ndarray,
    ceiling: np.float32,
    controls: np.ndarray,
    gates: np.ndarray,
    moments: np.ndarray,
    logits: np.ndarray,
    spikes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Differentiate `rung`; overwrites `d_moments` and `d_calcium` by the gradients that pass through them.

    Parameters
    ----------
    d_moments, d_spikes, d_calcium
        Gradients of the outputs, shapes (time, batch, 2 latent), (time, batch, cell), (time + 2, batch, cell).

    Returns
    -------
    d_pre
        Shape (time, batch, 3 hidden).
    d_logits
        Gradient of log(1 + spikes), shape (time, batch, cell).
    d_moments, d_calcium
        Whole gradients of the moments and of every bin's calcium.
    d_control
        Gradient of the initial controller state, shape (batch, hidden).
    """
    frames, count, latent = noise.shape
    hidden, cells = controls.shape[2], decay.shape[1]
    gate_weights_t = np.ascontiguousarray(gate_weights.T)
    candidate_weights_t = np.ascontiguousarray(candidate_weights.T)
    posterior_t, readout_t = np.ascontiguousarray(posterior.T), np.ascontiguousarray(readout.T)
    feedback_t = np.ascontiguousarray(feedback.T)
    d_pre = np.empty((frames, count, 3 * hidden), np.float32)
    d_logits = np.empty((frames, count, cells), np.float32)
    d_samples = np.empty((count, latent), np.float32)
    d_back = np.empty((count, cells), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    carry = np.zeros((count, hidden), np.float32)
    total = np.empty((count, hidden), np.float32)
    for step in range(frames):
        t = frames - 1 - step
        for b in range(count):
            for k in range(cells):
                d = d_calcium[t + 2, b, k]
                d_calcium[t + 1, b, k] += decay[0, k] * d
                d_calcium[t, b, k] += decay[1, k] * d
                s = logits[t, b, k]
                inside = s > 0 and s < ceiling
                slope = spikes[t, b, k] + ONE if inside else np.float32(0.0)
                d_logits[t, b, k] = (d_spikes[t, b, k] + d) * slope
        np.dot(d_logits[t], readout_t, d_samples)
        for b in range(count):
            for k in range(latent):
                sd = np.float32(math.exp(HALF * moments[t, b, latent + k]))
                d_moments[t, b, k] += d_samples[b, k]
                d_moments[t, b, latent + k] += HALF * sd * noise[t, b, k] * d_samples[b, k]
        np.dot(d_moments[t], posterior_t, total)
        total += carry
        cell_back(
            total, controls[t], gates[t], gate_weights_t, candidate_weights_t, scratch, d_pre[t], carry
        )  # fmt: skip
        np.dot(d_pre[t], feedback_t, d_back)
        for b in range(count):
            for k in range(cells):
                d_calcium[t + 1, b, k] += d_back[b, k]
    return d_pre, d_logits, d_moments, d_calcium, carry
