"""Recordings with recorded spikes, and with ROIs at known places."""

import numpy as np
import xarray as xr

from neurodyn.data.recording import Recording, entry


def with_spikes(path, seed, rois=3, dataset="one", times=True, frames=2000, rate=50.0):
    """Save a recording whose `spikes` are the recorded ones with noise, and whose `dff` is noise alone."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.03, (frames, rois))
    time = np.arange(frames) / rate
    truth = {"spikes": (("time", "roi"), counts.astype("u2"))}
    if times:
        frame, roi = np.nonzero(counts)
        truth = {
            "spike_time": ("spike", time[frame].repeat(counts[frame, roi])),
            "spike_roi": ("spike", roi.repeat(counts[frame, roi])),
        }
    neural = {"spikes": counts + 0.1 * rng.normal(size=counts.shape), "dff": rng.normal(size=counts.shape)}
    recording = Recording.from_arrays(
        neural, rate_hz=rate, truth=xr.Dataset(truth), session=path.stem, attrs={"dataset": dataset}
    )
    return recording.save(path)


def disk(y, x, radius=3):
    """Return the pixels of a disk."""
    rows, columns = np.mgrid[:48, :48]
    return np.argwhere((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def with_rois(path, masks, **params):
    """Save a recording with ROIs of these pixels."""
    owner = np.repeat(np.arange(len(masks)), [len(mask) for mask in masks])
    pixels = np.concatenate(masks)
    centres = np.array([mask.mean(axis=0) for mask in masks])
    rois = xr.Dataset(
        {
            "y": ("roi", centres[:, 0]),
            "x": ("roi", centres[:, 1]),
            "mask_roi": ("mask", owner),
            "mask_y": ("mask", pixels[:, 0]),
            "mask_x": ("mask", pixels[:, 1]),
        }
    )
    traces = np.random.default_rng(0).normal(100, 1, (20, len(masks))).astype("f4")
    qc = xr.Dataset({"mean_image": (("y", "x"), np.ones((48, 48)))})
    history = [entry("suite2p", params)]
    return Recording.from_arrays({"fluorescence": traces}, rate_hz=10, rois=rois, qc=qc, history=history).save(path)
