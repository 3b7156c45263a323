"""PCA against numpy's SVD."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.pca import PCA, PCAConfig
from neurodyn.nn import components


def low_rank(windows: int = 30, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    scores = np.cumsum(rng.normal(size=(windows, 6, 3)), 1) * [3, 2, 1]
    return (5 + scores @ rng.normal(size=(3, 12)) + noise * rng.normal(size=(windows, 6, 12))).astype(np.float32)


def fitted(data: np.ndarray, components: int = 3) -> PCA:
    model = PCA(PCAConfig(components=components), Layout(6, (12,), 10.0, np.ones(12, bool)))
    model.prepare(data[i : i + 8] for i in range(0, len(data), 8))
    return model


def make_batch(data: np.ndarray) -> Batch:
    x = torch.from_numpy(data)
    ok = torch.ones_like(x, dtype=torch.bool)
    t = (torch.arange(6) / 10.0).expand(len(x), -1)
    return Batch(x, t, ok, ok, torch.zeros(len(x), dtype=torch.long))


@pytest.mark.parametrize("exact", [True, False])
def test_components_are_those_of_the_svd(monkeypatch, exact):
    if not exact:
        monkeypatch.setattr(components, "EXACT_ENTRIES", 1)
    data = low_rank(noise=0.3)
    model = fitted(data)
    flat = data.reshape(-1, 12).astype(np.float64)
    _, _, vectors = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    np.testing.assert_allclose(model.mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(model.components.numpy() * vectors[:3], 1)), 1, atol=1e-5)
    np.testing.assert_allclose(model.components @ model.components.T, np.eye(3), atol=1e-5)


def test_low_rank_frames_are_recovered_from_some_of_their_entries():
    data = low_rank()
    batch = make_batch(data)
    visible = batch.visible.clone()
    visible[:, 2, 4:] = False
    torch.testing.assert_close(fitted(data)(replace(batch, visible=visible)).mean, batch.x, rtol=1e-2, atol=1e-2)


def test_scores_of_hidden_frames_are_interpolated():
    data = low_rank()
    batch, model = make_batch(data), fitted(data)
    visible = batch.visible.clone()
    visible[:, 2:4] = False
    prediction = model(replace(batch, visible=visible))
    whole = model(batch)
    expected = whole.latents[:, 1] + (whole.latents[:, 4] - whole.latents[:, 1]) / 3
    torch.testing.assert_close(prediction.latents[:, 2], expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(whole.latents, (batch.x - model.mean) @ model.components.T)


def test_more_components_than_entries_is_the_identity():
    data = low_rank(noise=0.5)
    torch.testing.assert_close(fitted(data, 50)(make_batch(data)).mean, torch.from_numpy(data), rtol=1e-3, atol=1e-3)
