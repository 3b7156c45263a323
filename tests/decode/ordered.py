"""Recordings with drift and without a response, or with one, and labels in every order; the truth is known."""

import numpy as np

from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.settings import Protocol

ORDERS = ("random", "blocks", "behaviour", "states")
DRIFTS = ("walk", "line", "shared", "waves")


def drift(kind, count, width, rng):
    """Slow courses of unit variance, one per feature, shape (sample, feature)."""
    time = np.linspace(-1, 1, count)[:, None]
    if kind == "line":
        return time * np.sqrt(3) * rng.normal(size=width)
    if kind == "waves":
        periods = 2 / rng.uniform(0.5, 2, width)
        return np.sqrt(2) * np.sin(2 * np.pi * time / periods + rng.uniform(0, 2 * np.pi, width))
    walks = np.cumsum(rng.normal(size=(count, 2 if kind == "shared" else width)), axis=0)
    walks /= walks.std(axis=0)
    return walks @ rng.normal(size=(2, width)) / np.sqrt(2) if kind == "shared" else walks


def slow(count, tau, rng):
    """A stationary course, its autocorrelation falling to 1/e after `tau` samples."""
    keep = np.exp(-1 / tau)
    noise = rng.normal(size=count)
    values = np.empty(count)
    values[0] = noise[0]
    for k in range(1, count):
        values[k] = keep * values[k - 1] + np.sqrt(1 - keep**2) * noise[k]
    return values


def states(count, tau, rng):
    """Two states in turn, each lasting `tau` samples on average."""
    lengths = 1 + rng.geometric(1 / tau, size=count)
    return np.resize(np.repeat(np.arange(count) % 2, lengths), count)


def labelled(order, task, rng, *, trials=40, classes=4, block=5, per=4):
    """Labels without relation to anything, as `Labels`; behaviour has `per` samples in each of `trials` segments."""
    if order in ("behaviour", "states"):
        groups = np.repeat(np.arange(trials), per)
        values = slow(groups.size, 4 * per, rng) if order == "behaviour" else states(groups.size, 3 * per, rng)
        return Labels(values, groups, np.arange(groups.size) * 1.0, task, unit="segments")
    values = np.resize(np.arange(classes), trials)
    if order == "random":
        values = rng.permutation(values)
    elif order == "sorted":
        values = np.sort(values)
    elif order == "blocks":
        values = np.repeat(rng.permutation(np.resize(np.arange(classes), trials // block)), block)
    values = values.astype(float) if task == "regress" else values
    return Labels(values, np.arange(trials), np.arange(trials) * 5.0, task)


def recorded(labels, kind, rng, *, width=10, noise=0.5, gain=0.0, drifting=1.0):
    """Features with drift, noise and a response of `gain` to the labels, shape (sample, feature)."""
    count = labels.target.size
    values = drifting * drift(kind, count, width, rng) + noise * rng.normal(size=(count, width))
    if labels.task == "classify":
        classes = np.unique(labels.target, return_inverse=True)[1]
        return values + gain * rng.normal(size=(classes.max() + 1, width))[classes]
    scaled = (labels.target - labels.target.mean()) / labels.target.std()
    return values + gain * np.outer(scaled, rng.normal(size=width))


def decoded(features, labels, **settings):
    """The pooled score of the first metric, cheaply."""
    decoder = {"regress": "ridge", "classify": "lda"}[labels.task]
    usual = {"shuffles": 99, "bootstraps": 100, "tune": False}
    return evaluate(features, labels, decoder=decoder, protocol=Protocol(**(usual | settings)))[0]


def found(order, task, kind, seeds, *, labels=None, **features):
    """p of every seed, NaN where no null helps, shape (seed,)."""
    p = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        one = labelled(order, task, rng, **(labels or {}))
        p.append(decoded(recorded(one, kind, rng, **features), one).p)
    return np.array(p)
