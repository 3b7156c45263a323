"""Which windows train, validate and test: by trial, condition, column, contiguous blocks, or at random."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.window_view import WindowView

PARTS = ("train", "valid", "test")
BLOCK_FACTOR = 3.0


def _bounds(fractions: tuple[float, float, float], count: int) -> list[int]:
    return [0, *(int(round(x * count)) for x in np.cumsum(fractions)[:2]), count]


def _assign(groups: np.ndarray, config: WindowConfig) -> np.ndarray:
    """Deal whole groups to the three parts at random; -1 stays outside."""
    names = np.unique(groups[groups >= 0])
    order = np.random.default_rng(config.seed).permutation(names)
    part = np.full(groups.shape, -1)
    bounds = _bounds(config.fractions, names.size)
    for k in range(3):
        part[np.isin(groups, order[bounds[k] : bounds[k + 1]])] = k
    return part


def _by_trial(windows: WindowView) -> np.ndarray:
    stride = int(windows.trial.max()) + 1
    return _assign(np.where(windows.trial < 0, -1, windows.session * stride + windows.trial), windows.config)


def _in_trials(windows: WindowView) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows that lie in a trial, and the condition column of each."""
    if windows.config.condition is None:
        raise ConfigError(
            f"split: {windows.config.split} needs a column.", "Found none.", "--set windows.condition=COLUMN"
        )
    inside = np.flatnonzero(windows.trial >= 0)
    return inside, windows.column(windows.config.condition, inside)


def _by_condition(windows: WindowView) -> np.ndarray:
    inside, values = _in_trials(windows)
    groups = np.full(len(windows), -1)
    groups[inside] = np.unique(values, return_inverse=True)[1]
    return _assign(groups, windows.config)


def _by_column(windows: WindowView) -> np.ndarray:
    inside, values = _in_trials(windows)
    named = np.array([str(value) for value in values])  # a store gives strings back in several types
    strange = sorted(set(named) - set(PARTS))
    if strange:
        raise DataError(
            f"Column '{windows.config.condition}' does not name parts.",
            f"Found {', '.join(strange[:5])}{', …' if len(strange) > 5 else ''}; expected {', '.join(PARTS)}.",
            "Mend the column, or split by its values: --set windows.split=condition",
        )
    part = np.full(len(windows), -1)
    for k, name in enumerate(PARTS):
        part[inside[named == name]] = k
    return part


def _random(windows: WindowView) -> np.ndarray:
    return _assign(np.arange(len(windows)), windows.config)


def _blocked(windows: WindowView) -> np.ndarray:
    """Cut each session's time into contiguous blocks, train, valid, test in turn, a guard gap between them."""
    config, rate = windows.config, windows.rate_hz
    gap = config.duration if config.gap is None else config.gap
    shares = np.cumsum([0.0, *np.tile(np.divide(config.fractions, config.blocks), config.blocks)])
    part = np.full(len(windows), -1)
    for index, recording in enumerate(windows.recordings):
        mine = windows.session == index
        first = windows.start[mine]
        last = first + (windows.frames - 1) / rate
        begin, end = recording.time[0], recording.time[-1] + 1 / rate
        edges = begin + (end - begin) * shares
        owner = np.full(first.size, -1)
        for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            low += gap / 2 if low > begin else 0
            high -= gap / 2 if high < end - 1e-9 else 0
            owner[(first >= low - 1e-9) & (last < high - 1e-9)] = k % len(PARTS)
        part[mine] = owner
    return part


def _by_stimulus_block(windows: WindowView) -> np.ndarray:
    """Test on the last block of each session's events, validate on the end of the one before it.

    A new block begins where the distance between onsets exceeds three times its median. The last 30 % of the events of
    the last but one block validate; with two blocks, its second half; a single block is cut 60, 10, 30 % along time.
    WindowView that reach beyond the last frame before the next part are left out.
    """
    part = np.full(len(windows), -1)
    for index, recording in enumerate(windows.recordings):
        onsets = np.sort(recording.stimulus["start"].values)
        mine = np.flatnonzero((windows.session == index) & (windows.trial >= 0))
        owner = _parts_of_events(onsets)[windows.trial[mine]]
        for name in range(len(PARTS) - 1):  # what reaches into the next part belongs to none
            following = windows.first[mine][owner > name]
            if following.size:
                owner[(owner == name) & (windows.first[mine] + windows.frames > following.min())] = -1
        part[mine] = owner
    return part


def _parts_of_events(onsets: np.ndarray) -> np.ndarray:
    steps = np.diff(onsets)
    block = np.concatenate([[0], np.cumsum(steps > BLOCK_FACTOR * np.median(steps))]) if steps.size else [0]
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    part = np.zeros(onsets.size, dtype=int)
    if starts.size == 1:
        bounds = _bounds((0.6, 0.1, 0.3), onsets.size)
        part[bounds[1] :], part[bounds[2] :] = 1, 2
        return part
    last, before = starts[-1], starts[-2]
    kept = 0.7 if starts.size > 2 else 0.5
    part[before + int(round(kept * (last - before))) :] = 1
    part[last:] = 2
    return part


SPLITS = {
    "blocked": _blocked,
    "stimulus_blocks": _by_stimulus_block,
    "trial": _by_trial,
    "condition": _by_condition,
    "column": _by_column,
    "random": _random,
}
