"""The loop of a ladder's lower rung: controller, spikes and calcium, forwards and backwards."""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled
from neurodyn.compiled.elementary import HALF, ONE, ZERO, exp
from neurodyn.compiled.gru import cell, cell_back


@compiled
def rung(
    gates: np.ndarray,
    bias: np.ndarray,
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
    gates, bias
        Input part of the controller's gates, shape (time, batch, 3 hidden), overwritten by z, r, n; and its bias.
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
    reset
        r h of the controller, shape (time, batch, hidden).
    mean, logvar
        Of z, shape (time, batch, latent).
    samples
        z, shape (time, batch, latent).
    logits
        log(1 + spikes) before the limits, shape (time, batch, cell).
    spikes
        Shape (time, batch, cell).
    """
    frames, count, latent = noise.shape
    hidden, cells = controls.shape[2], decay.shape[1]
    reset = np.empty((frames, count, hidden), np.float32)
    mean = np.empty((frames, count, latent), np.float32)
    logvar = np.empty((frames, count, latent), np.float32)
    samples = np.empty((frames, count, latent), np.float32)
    logits = np.empty((frames, count, cells), np.float32)
    spikes = np.empty((frames, count, cells), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    fed = np.empty((count, 3 * hidden), np.float32)
    moments = np.empty((count, 2 * latent), np.float32)
    for t in range(frames):
        np.dot(calcium[t + 1], feedback, fed)
        gates[t] += fed
        cell(gates[t], bias, controls[t], gate_weights, candidate_weights, reset[t], scratch, controls[t + 1])
        np.dot(controls[t + 1], posterior, moments)
        for b in range(count):
            for k in range(latent):
                m, v = moments[b, k] + posterior_bias[k], moments[b, latent + k] + posterior_bias[latent + k]
                mean[t, b, k], logvar[t, b, k] = m, v
                samples[t, b, k] = m + exp(HALF * v) * noise[t, b, k]
        np.dot(samples[t], readout, logits[t])
        for b in range(count):
            for k in range(cells):
                s = logits[t, b, k] + drive[t, b, k]
                logits[t, b, k] = s
                spikes[t, b, k] = max(exp(min(s, ceiling)) - ONE, ZERO)
            for k in range(cells):
                decayed = decay[0, k] * calcium[t + 1, b, k] + decay[1, k] * calcium[t, b, k]
                calcium[t + 2, b, k] = decayed + spikes[t, b, k]
    return reset, mean, logvar, samples, logits, spikes


@compiled
def rung_back(
    d_mean: np.ndarray,
    d_logvar: np.ndarray,
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
    logvar: np.ndarray,
    logits: np.ndarray,
    spikes: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differentiate `rung`; the gradient of the gates' input part is written over `gates`.

    Parameters
    ----------
    d_mean, d_logvar, d_spikes
        Gradients of the outputs, shapes (time, batch, latent) twice and (time, batch, cell).
    d_calcium
        Gradient of the calcium, shape (time + 2, batch, cell); overwritten by what passes through every bin's calcium.

    Returns
    -------
    d_logits
        Gradient of log(1 + spikes), shape (time, batch, cell).
    d_moments
        Whole gradient of mean and log variance, shape (time, batch, 2 latent).
    d_control
        Gradient of the initial controller state, shape (batch, hidden).
    """
    frames, count, latent = noise.shape
    hidden, cells = controls.shape[2], decay.shape[1]
    gate_weights_t = np.ascontiguousarray(gate_weights.T)
    candidate_weights_t = np.ascontiguousarray(candidate_weights.T)
    posterior_t, readout_t = np.ascontiguousarray(posterior.T), np.ascontiguousarray(readout.T)
    feedback_t = np.ascontiguousarray(feedback.T)
    d_moments = np.empty((frames, count, 2 * latent), np.float32)
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
                d_calcium[t + 1, b, k] += decay[0, k] * d_calcium[t + 2, b, k]
                d_calcium[t, b, k] += decay[1, k] * d_calcium[t + 2, b, k]
            for k in range(cells):
                s = logits[t, b, k]
                slope = spikes[t, b, k] + ONE if (s > ZERO) & (s < ceiling) else ZERO
                d_logits[t, b, k] = (d_spikes[t, b, k] + d_calcium[t + 2, b, k]) * slope
        np.dot(d_logits[t], readout_t, d_samples)
        for b in range(count):
            for k in range(latent):
                d_moments[t, b, k] = d_mean[t, b, k] + d_samples[b, k]
            for k in range(latent):
                through = HALF * exp(HALF * logvar[t, b, k]) * noise[t, b, k] * d_samples[b, k]
                d_moments[t, b, latent + k] = d_logvar[t, b, k] + through
        np.dot(d_moments[t], posterior_t, total)
        total += carry
        cell_back(total, controls[t], gates[t], gate_weights_t, candidate_weights_t, scratch, carry)
        np.dot(gates[t], feedback_t, d_back)
        for b in range(count):
            for k in range(cells):
                d_calcium[t + 1, b, k] += d_back[b, k]
    return d_logits, d_moments, carry
