"""Simulated trials of one recording, for the coverage of intervals."""

import numpy as np

from neurodyn.decode.labels import Labels

CLASSES = 4


def correlated(rng: np.random.Generator, trials: int, width: int, rho: float) -> np.ndarray:
    """Return noise of unit variance, an autoregression over trials, shape (trial, feature)."""
    noise = rng.standard_normal((trials, width))
    for k in range(1, trials):
        noise[k] = rho * noise[k - 1] + np.sqrt(1 - rho**2) * noise[k]
    return noise


def recording(
    rng: np.random.Generator, task: str, trials: int, strength: float, rho: float
) -> tuple[dict[str, np.ndarray], Labels]:
    """Return two features of the same trials, the second with a weaker signal, and their labels."""
    axes = np.random.default_rng(7).standard_normal((CLASSES, 8)) / np.sqrt(8)
    if task == "regress":
        target = rng.standard_normal(trials)
        signal = target[:, None] * axes[0]
    elif task == "circular":
        target = rng.uniform(0, 360, trials)
        signal = np.stack([np.cos(np.deg2rad(target)), np.sin(np.deg2rad(target))], axis=1) @ axes[:2]
    else:
        target = rng.permutation(np.arange(trials) % CLASSES)
        signal = axes[target]
    noise, other = correlated(rng, trials, 8, rho), correlated(rng, trials, 8, rho)
    weaker = 0.6 * strength * signal + 0.5 * noise + 0.85 * other
    labels = Labels(target, np.arange(trials), np.arange(trials, dtype=float), task)
    return {"strong": strength * signal + noise, "weak": weaker}, labels
