"""Spikes that were recorded beside the fluorescence."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording


def spike_times(recording: Recording) -> list[np.ndarray]:
    """Return each ROI's recorded spike times, s, from `spike_time` and `spike_roi` or `spikes` in the group `truth`.

    Raises
    ------
    DataError
        If there are none.
    """
    truth = recording.table("truth")
    rois = int(recording.neural.sizes.get("roi", 0))
    if truth is not None and {"spike_time", "spike_roi"} <= set(truth.variables):
        time, roi = truth["spike_time"].values, truth["spike_roi"].values
        return [time[roi == index] for index in range(rois)]
    if truth is not None and "spikes" in truth and truth["spikes"].dims == ("time", "roi"):
        counts = np.asarray(truth["spikes"].values, dtype=np.int64)
        return [np.repeat(recording.time, each) for each in counts.T]
    raise DataError(
        f"Recording '{recording.session}' has no recorded spikes.",
        "Expected spike_time and spike_roi, or spikes, in the group 'truth'.",
        "Read ground truth (--reader cascade), or simulate: neurodyn simulate two_photon -o FILE",
    )
