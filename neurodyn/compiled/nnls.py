"""Non-negative deconvolution of many traces at once, compiled, on threads.

OASIS as in Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017); apart so that numba is loaded only where
spikes are inferred this way.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from neurodyn.compiled.base import CACHE

ROWS = 16


@numba.njit(nogil=True, cache=CACHE)
def _nnls(traces: np.ndarray, powers: np.ndarray, starts: np.ndarray, spikes: np.ndarray) -> None:
    """Fill `spikes`, float64, shape (trace, time), one stretch after another; `powers` holds g^k.

    A pool is a run of frames without a spike: its first calcium value is top / weight. A frame whose calcium would lie
    below the decay of the pool before joins that pool. NaN frames only lengthen it.
    """
    frames = traces.shape[1]
    top, weight = np.empty(frames), np.empty(frames)
    begin = np.empty(frames + 1, np.int64)
    for row in range(traces.shape[0]):
        for part in range(starts.size - 1):
            first, stop = starts[part], starts[part + 1]
            last = -1
            for t in range(first, stop):
                value = np.float64(traces[row, t])
                missing = np.isnan(value)
                if missing and last < 0:
                    value, missing = 0.0, False
                if missing:
                    continue
                last += 1
                top[last], weight[last], begin[last] = value, 1.0, t
                while last > 0:
                    decay = powers[begin[last] - begin[last - 1]]
                    if top[last - 1] * decay * weight[last] <= top[last] * weight[last - 1]:
                        break
                    last -= 1
                    top[last] += top[last + 1] * decay
                    weight[last] += weight[last + 1] * decay * decay
            begin[last + 1] = stop
            spikes[row, first:stop] = 0.0
            before = max(0.0, top[0] / weight[0])
            for pool in range(1, last + 1):
                level = max(0.0, top[pool] / weight[pool])
                spikes[row, begin[pool]] = level - before * powers[begin[pool] - begin[pool - 1]]
                before = level
            for t in range(first, stop):
                if np.isnan(traces[row, t]):
                    spikes[row, t] = np.nan


def nonnegative_spikes(
    traces: np.ndarray, tau: float, rate_hz: float, starts: np.ndarray | None = None, threads: int = 1
) -> np.ndarray:
    """Infer spikes without a penalty: minimise |y - c|² with s(t) = c(t) - g c(t-1) >= 0 and g = exp(-1 / (tau rate)).

    The same as `oasis.oasis_methods.oasisAR1(y, g)` trace by trace, without holding Python's lock.

    Parameters
    ----------
    traces
        ΔF/F with baseline 0, float32 or float64, shape (trace, time); NaN frames are inferred around and stay NaN.
    tau
        Decay time constant, s.
    starts
        First frame of every uninterrupted stretch; each is inferred by itself.
    threads
        Threads that share the traces.

    Returns
    -------
    np.ndarray
        Events per frame, in the traces' unit, like `traces`; the first frame of a stretch is 0.
    """
    frames = traces.shape[1]
    edges = np.r_[np.zeros(1, np.int64) if starts is None else np.asarray(starts, np.int64), frames]
    powers = np.exp(-np.arange(frames + 1) / (tau * rate_hz))
    traces = np.ascontiguousarray(traces)
    spikes = np.empty(traces.shape, dtype=traces.dtype)
    blocks = [slice(k, k + ROWS) for k in range(0, len(traces), ROWS)]
    if threads == 1 or len(blocks) < 2:
        _nnls(traces, powers, edges, spikes)
        return spikes
    with ThreadPoolExecutor(min(threads, len(blocks))) as pool:
        list(pool.map(lambda rows: _nnls(traces[rows], powers, edges, spikes[rows]), blocks))
    return spikes
