"""Small session files in the layout of the Allen Brain Observatory (NWB 1), and what is known to be in them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FPS = 30.0
PIPELINE = "processing/brain_observatory_pipeline"
PLANE = "imaging_plane_1"
SIZE = 32
MOVIE_FRAMES = 12
LSN = "locally_sparse_noise"
BLOCKS = {
    "A": ("drifting_gratings", "natural_movie_three", "natural_movie_one", "drifting_gratings", "natural_movie_three")
    + ("spontaneous", "drifting_gratings"),
    "B": ("static_gratings", "natural_scenes", "spontaneous", "natural_scenes", "static_gratings")
    + ("natural_movie_one", "static_gratings", "natural_scenes"),
    "C": (LSN, "spontaneous", "natural_movie_one", LSN, "natural_movie_two", "spontaneous", LSN),
    "C2": (f"{LSN}_4deg", "spontaneous", "natural_movie_one", f"{LSN}_4deg", "natural_movie_two", "spontaneous")
    + (f"{LSN}_4deg", f"{LSN}_8deg"),
}
FEATURES = {
    "drifting_gratings": ("temporal_frequency", "orientation", "blank_sweep"),
    "static_gratings": ("orientation", "spatial_frequency", "phase"),
}
GAP = 300


def shown(kind: str, blocks: Iterable[str] | None = None, trials: int = 15, seed: int = 0) -> dict[str, tuple]:
    """Return stimulus -> (data, frames of shape (event, 2)), the blocks one after the other from frame 100."""
    rng, frame = np.random.default_rng(seed), 100
    parts: dict[str, list] = {}
    for name in blocks or BLOCKS[kind]:
        data, on, off = _block(name, trials, rng)
        start = frame + np.arange(len(data)) * (on + off)
        parts.setdefault(name, []).append((data, np.stack([start, start + on], axis=1)))
        frame = int(start[-1]) + on + GAP
    return {name: tuple(map(np.concatenate, zip(*found, strict=True))) for name, found in parts.items()}


def _block(name: str, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, int, int]:
    if name == "spontaneous":
        return np.array([1, -1]), 1, 400
    if name.startswith("natural_movie"):
        return np.tile(np.arange(MOVIE_FRAMES), 3), 0, 1
    if name == "drifting_gratings":
        data = np.stack(
            [rng.choice([1.0, 2, 4, 8, 15], trials), 45.0 * rng.integers(0, 8, trials), np.zeros(trials)], 1
        )
        data[trials // 2] = np.nan, np.nan, 1
        return data, 60, 30
    if name == "static_gratings":
        data = np.stack(
            [30.0 * rng.integers(0, 6, trials), rng.choice([0.02, 0.04, 0.32], trials)] + [np.zeros(trials)], 1
        )
        data[trials // 2] = np.nan
        return data, 7, 1
    return rng.integers(-1, 118, trials) if name == "natural_scenes" else np.arange(trials), 7, 1


def session(
    path: Path,
    kind: str = "A",
    *,
    cells: int = 3,
    seed: int = 0,
    experiment: int = 501940850,
    container: int = 511510688,
    version: str = "3.0",
    eye: bool = True,
    demixed: bool = True,
    blocks: Iterable[str] | None = None,
    trials: int = 15,
    traces: np.ndarray | None = None,
    fps: float = FPS,
    start: float = 13.5,
    variable_length: bool = False,
) -> Path:
    """Write a session; `traces`, shape (time, roi), takes the place of the fluorescence before demixing."""
    rng = np.random.default_rng(seed)
    stimuli = shown(kind, blocks, trials, seed)
    frames = max(int(times.max()) for _, times in stimuli.values()) + 200 if traces is None else len(traces)
    raw = rng.normal(400, 20, (cells, frames)).astype(np.float32) if traces is None else traces.T
    time = start + np.arange(frames) / fps
    with h5py.File(path, "w") as file:
        _general(file, kind, experiment, container, version, variable_length)
        _traces(file, raw, time, rng, version, demixed)
        _segmentation(file, len(raw), rng)
        _behavior(file, time, rng, eye)
        for name, (data, times) in stimuli.items():
            group = file.create_group(f"stimulus/presentation/{name}_stimulus")
            group["data"], group["frame_duration"] = data, times
            if name in FEATURES:
                group["features"] = np.array(FEATURES[name], dtype="S")
            if name.startswith("natural"):
                file[f"stimulus/templates/{name}_image_stack/data"] = rng.integers(0, 255, (5, 6, 7)).astype(np.uint8)
    return path


def _general(file: h5py.File, kind: str, experiment: int, container: int, version: str, variable_length: bool) -> None:
    file["nwb_version"] = np.bytes_("NWB-1.0.5")
    file["session_start_time"] = np.bytes_("Thu Mar 10 09:12:03 2016")
    texts = {
        "session_id": str(experiment),
        "experiment_container_id": str(container),
        "session_type": f"three_session_{kind}",
        "specimen_name": "Cux2-CreERT2;Camk2a-tTA;Ai93-222426",
        "fov": "400x400 microns (512 x 512 pixels)",
        "subject/age": "103 days",
        "subject/sex": "male",
        "subject/genotype": "Cux2-CreERT2/wt;Camk2a-tTA/wt;Ai93(TITL-GCaMP6f)/Ai93(TITL-GCaMP6f)",
        "devices/2-photon microscope": "Nikon A1R-MP multiphoton microscope. CAM2P.2 Please see the white paper",
        f"optophysiology/{PLANE}/imaging depth": "175 microns",
        f"optophysiology/{PLANE}/location": "VISp",
        f"optophysiology/{PLANE}/excitation_lambda": "910 nanometers",
        f"optophysiology/{PLANE}/indicator": "GCaMP6f",
    }
    for name, text in texts.items():
        file[f"general/{name}"] = text if variable_length else np.bytes_(text)
    file["general/generated_by"] = np.array(["brain_observatory_pipeline", version], dtype="S")


def _traces(
    file: h5py.File, raw: np.ndarray, time: np.ndarray, rng: np.random.Generator, version: str, demixed: bool
) -> None:
    r = rng.uniform(0.2, 0.9, len(raw))
    neuropil = (0.8 * raw + 5).astype(np.float32)
    new = float(version) >= 2
    apart = f"{PLANE}_neuropil_response"
    places: dict[str, Any] = {
        f"DfOverF/{PLANE}/data": (raw / 400 - 1).astype(np.float32),
        f"DfOverF/{PLANE}/timestamps": time,
        f"Fluorescence/{PLANE}/data": raw,
        f"Fluorescence/{PLANE}/timestamps": time,
        f"Fluorescence/{apart}/data" if new else f"Fluorescence/{PLANE}/neuropil_traces": neuropil,
        f"Fluorescence/{apart if new else PLANE}/r": r,
    }
    if demixed and new:
        places[f"Fluorescence/{PLANE}_demixed_signal/data"] = (raw - 1).astype(np.float32)
    for name, values in places.items():
        file[f"{PIPELINE}/{name}"] = values


def _segmentation(file: h5py.File, cells: int, rng: np.random.Generator) -> None:
    names = [f"roi_{k:03d}" for k in range(cells)]
    group = file.create_group(f"{PIPELINE}/ImageSegmentation")
    group["cell_specimen_ids"] = 517400000 + 7 * np.arange(cells)
    group["roi_ids"] = np.array([str(500100000 + k) for k in range(cells)], dtype="S")
    group[f"{PLANE}/roi_list"] = np.array(names, dtype="S")
    group[f"{PLANE}/reference_images/maximum_intensity_projection_image/data"] = rng.integers(
        0, 255, (SIZE, SIZE)
    ).astype(np.uint8)
    for k, name in enumerate(names):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[k % 20 + 2 : k % 20 + 5, 10:12] = 1
        group[f"{PLANE}/{name}/img_mask"] = mask


def _behavior(file: h5py.File, time: np.ndarray, rng: np.random.Generator, eye: bool) -> None:
    frames = time.size
    courses = {
        "BehavioralTimeSeries/running_speed": rng.normal(10, 5, frames - 30).astype(np.float32),
        "MotionCorrection/2p_image_series/xy_translation": rng.normal(0, 1, (frames, 2)),
    }
    if eye:
        courses |= {
            "EyeTracking/pupil_location": rng.normal(0, 2, (frames, 2)),
            "EyeTracking/pupil_location_spherical": rng.normal(0, 6, (frames, 2)),
            "PupilTracking/pupil_size": rng.uniform(300, 900, frames),
        }
    for name, values in courses.items():
        file[f"{PIPELINE}/{name}/data"] = values
        late = 10 if values.ndim == 1 and len(values) < frames else 0
        file[f"{PIPELINE}/{name}/timestamps"] = time[late : late + len(values)]
    file[f"{PIPELINE}/MotionCorrection/2p_image_series/xy_translation/feature_description"] = np.array(
        ["x_motion", "y_motion"], dtype="S"
    )
