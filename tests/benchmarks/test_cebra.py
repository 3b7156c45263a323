"""Our contrastive embedding beside the package `cebra`: uv run --with cebra pytest -m slow -n 0 -s tests/benchmarks/test_cebra.py."""

import warnings

import numpy as np
import pytest
import torch
import zarr
from scipy.ndimage import gaussian_filter1d
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor

from neurodyn.data.recording import Recording
from tests.cli.conftest import neurodyn as neurodyn

TRAINED = 2100
SEEDS = 3


def ring(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells tuned to an angle that wanders, 10 Hz: values (frame, cell), and the angle as a unit vector (frame, 2)."""
    rng = np.random.default_rng(seed)
    angle = np.cumsum(gaussian_filter1d(rng.normal(size=3000), 10))
    preferred, gain = rng.uniform(0, 2 * np.pi, 60), rng.uniform(0.5, 2, 60)
    rates = gain * np.exp(2 * (np.cos(angle[:, None] - preferred) - 1))
    return (rates + rng.normal(size=rates.shape)).astype(np.float32), np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ours(neurodyn, folder, values, seed) -> np.ndarray:
    recording = Recording.from_arrays({"dff": values}, rate_hz=10.0).save(folder / "ring.zarr")
    run = folder / "run"
    neurodyn("train", "cebra", str(recording), "-o", str(run), "--gpu", "none", "--set", f"training.seed={seed}")
    neurodyn("infer", str(run), "--gpu", "none")
    found = zarr.open_group(run / "prediction.zarr", mode="r")
    points = np.full((len(values), 16), np.nan)
    for start, latents in zip(np.asarray(found["start"]), np.asarray(found["latents"]), strict=True):
        first = round(float(start) * 10)
        points[first + 9 : first + 20] = latents[9:]
    return points


def theirs(package, values, seed) -> np.ndarray:
    torch.manual_seed(seed)
    scaled = (values - values[:TRAINED].mean(0)) / values[:TRAINED].std(0)
    model = package.CEBRA(
        model_architecture="offset10-model", batch_size=512, learning_rate=1e-3, temperature=1.0, output_dimension=16,
        max_iterations=400, time_offsets=5, distance="cosine", device="cpu", num_hidden_units=32,
    )  # fmt: skip
    return model.fit(scaled[:TRAINED]).transform(scaled)


def scores(points: np.ndarray, truth: np.ndarray, frames: np.ndarray) -> list[float]:
    """R² of the angle's unit vector by ridge and by nearest neighbours: the first half of the frames trains, the second tests."""
    half = len(frames) // 2
    train, test = frames[:half], frames[half + 10 :]
    found = []
    for decoder in (RidgeCV(np.logspace(-4, 4, 9)), KNeighborsRegressor(5)):
        error = decoder.fit(points[train], truth[train]).predict(points[test]) - truth[test]
        found.append(1 - (error**2).sum() / ((truth[test] - truth[train].mean(0)) ** 2).sum())
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_it_tells_an_angle_as_the_package_does(neurodyn, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("cebra", reason="cebra is not installed")
    rows = []
    for seed in range(SEEDS):
        values, truth = ring(seed)
        (folder := tmp_path / str(seed)).mkdir()
        mine = ours(neurodyn, folder, values, seed)
        frames = np.flatnonzero(np.isfinite(mine).all(axis=1) & (np.arange(len(mine)) >= TRAINED))
        rows.append([scores(points, truth, frames) for points in (values, mine, theirs(package, values, seed))])
        print(seed, np.round(rows[-1], 3).tolist())
    difference = np.array(rows)[:, 1] - np.array(rows)[:, 2]  # (seed, decoder)
    spread = difference.std(axis=0, ddof=1) / np.sqrt(SEEDS)
    print("ours minus package", difference.mean(axis=0), "±", spread)
    assert (difference.mean(axis=0) > -np.maximum(0.03, 2 * spread)).all()
