"""The loop of a controller and a generator, forwards and backwards."""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled
from neurodyn.compiled.elementary import HALF, exp
from neurodyn.compiled.gru import cell, cell_back


@compiled
def controlled(
    pre: np.ndarray,
    control_bias: np.ndarray,
    feedback: np.ndarray,
    control_gates: np.ndarray,
    control_candidate: np.ndarray,
    posterior: np.ndarray,
    posterior_bias: np.ndarray,
    noise: np.ndarray,
    entering: np.ndarray,
    bias: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    rows: np.ndarray,
    keep: np.ndarray,
    controls: np.ndarray,
    states: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Run controller and generator; every bin's controller sees the factors of the bin before.

    Parameters
    ----------
    pre, control_bias
        The data's part of the controller's gates, shape (time, batch, 3 control), and its bias.
    feedback
        Factors to the controller's gates, shape (factor, 3 control).
    control_gates, control_candidate
        The controller's U, shapes (control, 2 control) and (control, control).
    posterior, posterior_bias
        Controller to mean and log variance of the inputs, shapes (control, 2 input) and (2 input,).
    noise
        Standard normal, shape (time, batch, input).
    entering, bias
        Inputs to the generator's gates, shapes (input, 3 hidden) and (3 hidden,).
    gate_weights, candidate_weights
        The generator's U, shapes (hidden, 2 hidden) and (hidden, hidden).
    rows
        Generator to factors, shape (factor, hidden).
    keep
        What the states are multiplied by on their way to the factors, shape (time, batch, hidden).
    controls, states
        Shapes (time + 1, batch, control) and (time + 1, batch, hidden); the first are the initial states, the others are
        written.

    Returns
    -------
    control_course, control_reset, course, reset
        Gates z, r, n and r h of the controller and of the generator, as in `gru.scan`.
    moments
        Mean and log variance of the inputs, shape (time, batch, 2 input).
    samples
        The inputs, shape (time, batch, input).
    factors
        Shape (time + 1, batch, factor); the first are those of the initial state.
    """
    frames, count, inputs = noise.shape
    control, hidden, width = controls.shape[2], states.shape[2], rows.shape[0]
    rows_t = np.ascontiguousarray(rows.T)
    control_course = np.empty((frames, count, 3 * control), np.float32)
    control_reset = np.empty((frames, count, control), np.float32)
    course = np.empty((frames, count, 3 * hidden), np.float32)
    reset = np.empty((frames, count, hidden), np.float32)
    moments = np.empty((frames, count, 2 * inputs), np.float32)
    samples = np.empty((frames, count, inputs), np.float32)
    factors = np.empty((frames + 1, count, width), np.float32)
    control_scratch = np.empty((2, count, 2 * control), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    kept = np.empty((count, hidden), np.float32)
    np.dot(states[0], rows_t, factors[0])
    for t in range(frames):
        np.dot(factors[t], feedback, control_course[t])
        control_course[t] += pre[t]
        cell(
            control_course[t], control_bias, controls[t], control_gates, control_candidate,
            control_reset[t], control_scratch, controls[t + 1],
        )  # fmt: skip
        np.dot(controls[t + 1], posterior, moments[t])
        for b in range(count):
            for k in range(2 * inputs):
                moments[t, b, k] += posterior_bias[k]
            for k in range(inputs):
                sd = exp(HALF * moments[t, b, inputs + k])
                samples[t, b, k] = moments[t, b, k] + sd * noise[t, b, k]
        np.dot(samples[t], entering, course[t])
        cell(course[t], bias, states[t], gate_weights, candidate_weights, reset[t], scratch, states[t + 1])
        for b in range(count):
            for j in range(hidden):
                kept[b, j] = keep[t, b, j] * states[t + 1, b, j]
        np.dot(kept, rows_t, factors[t + 1])
    return control_course, control_reset, course, reset, moments, samples, factors


@compiled
def controlled_back(
    d_moments: np.ndarray,
    d_samples: np.ndarray,
    d_states: np.ndarray,
    d_factors: np.ndarray,
    feedback: np.ndarray,
    control_gates: np.ndarray,
    control_candidate: np.ndarray,
    posterior: np.ndarray,
    noise: np.ndarray,
    entering: np.ndarray,
    gate_weights: np.ndarray,
    candidate_weights: np.ndarray,
    rows: np.ndarray,
    keep: np.ndarray,
    controls: np.ndarray,
    states: np.ndarray,
    control_course: np.ndarray,
    course: np.ndarray,
    moments: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Differentiate `controlled`.

    Overwrites `d_moments` and `d_factors` by the gradients that pass through them, `control_course` and `course` by those
    of what enters the controller's and the generator's gates.

    Parameters
    ----------
    d_moments, d_samples, d_states
        Gradients of the outputs, shapes (time, batch, 2 input), (time, batch, input), (time, batch, hidden).
    d_factors
        Zero, shape (time + 1, batch, factor).

    Returns
    -------
    d_control, d_state
        Gradients of the initial states, shapes (batch, control) and (batch, hidden).
    """
    frames, count, inputs = noise.shape
    control, hidden = controls.shape[2], states.shape[2]
    control_gates_t = np.ascontiguousarray(control_gates.T)
    control_candidate_t = np.ascontiguousarray(control_candidate.T)
    gate_weights_t = np.ascontiguousarray(gate_weights.T)
    candidate_weights_t = np.ascontiguousarray(candidate_weights.T)
    feedback_t, posterior_t = np.ascontiguousarray(feedback.T), np.ascontiguousarray(posterior.T)
    entering_t = np.ascontiguousarray(entering.T)
    d_input = np.empty((count, inputs), np.float32)
    control_scratch = np.empty((2, count, 2 * control), np.float32)
    scratch = np.empty((2, count, 2 * hidden), np.float32)
    d_control, d_state = np.zeros((count, control), np.float32), np.zeros((count, hidden), np.float32)
    control_total, total = np.empty((count, control), np.float32), np.empty((count, hidden), np.float32)
    for step in range(frames):
        t = frames - 1 - step
        np.dot(d_factors[t + 1], rows, total)
        for b in range(count):
            for j in range(hidden):
                total[b, j] = total[b, j] * keep[t, b, j] + d_states[t, b, j] + d_state[b, j]
        cell_back(total, states[t], course[t], gate_weights_t, candidate_weights_t, scratch, d_state)
        np.dot(course[t], entering_t, d_input)
        for b in range(count):
            for k in range(inputs):
                d = d_input[b, k] + d_samples[t, b, k]
                sd = exp(HALF * moments[t, b, inputs + k])
                d_moments[t, b, k] += d
                d_moments[t, b, inputs + k] += HALF * sd * noise[t, b, k] * d
        np.dot(d_moments[t], posterior_t, control_total)
        control_total += d_control
        cell_back(
            control_total, controls[t], control_course[t], control_gates_t, control_candidate_t,
            control_scratch, d_control,
        )  # fmt: skip
        np.dot(control_course[t], feedback_t, d_factors[t])
    np.dot(d_factors[0], rows, total)
    d_state += total
    return d_control, d_state
