"""Low-rank frames: what is hidden, from what is seen, against the Gaussian's own formula."""

import numpy as np
import pytest
import torch

from neurodyn.nn.components import Components

ENTRIES, RANK, NOISE = 14, 3, 0.4


def planted(frames: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames of rank 3 with noise, and their covariance."""
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(np.random.default_rng(9).normal(size=(ENTRIES, RANK)))[0] * [3.0, 2.0, 1.5]
    data = 5 + rng.normal(size=(frames, RANK)) @ loadings.T + NOISE * rng.normal(size=(frames, ENTRIES))
    return data.astype(np.float32), loadings @ loadings.T + NOISE**2 * np.eye(ENTRIES)


def fitted(data: np.ndarray, rank: int = RANK, shrink: bool = True) -> Components:
    model = Components(ENTRIES, rank, shrink)
    model.fit([data[:1500], data[1500:]])
    return model


def asked(data: np.ndarray, hidden: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values = torch.from_numpy(data)[None]
    known = torch.ones_like(values, dtype=torch.bool)
    known[..., hidden] = False
    return values.where(known, 1e6), known, torch.arange(values.shape[1])[None] / 10.0


def test_estimate_and_spread_are_those_of_the_conditional_gaussian():
    data, covariance = planted(40000)
    values, known, t = asked(planted(200, seed=1)[0], slice(10, None))
    o, h = np.arange(10), np.arange(10, ENTRIES)
    gain = covariance[np.ix_(h, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    expected = 5 + (values[0, :, :10].numpy() - 5) @ gain.T
    spread = covariance[np.ix_(h, h)] - gain @ covariance[np.ix_(o, h)]
    model = fitted(data)
    np.testing.assert_allclose(model(values, t, known, t)[0, :, 10:], expected, atol=0.06)
    np.testing.assert_allclose(model.std(known)[0, 0, 10:], np.sqrt(np.diag(spread)), rtol=0.03)


def test_without_shrinkage_it_is_the_fixed_point_of_filling_in_and_projecting():
    data, _ = planted()
    model = fitted(data, shrink=False)
    values, known, t = asked(planted(5, seed=2)[0], slice(8, 12))
    filled = torch.where(known, values, model.mean)
    for _ in range(3000):
        projected = model.mean + (filled - model.mean) @ model.axes.T @ model.axes
        filled = torch.where(known, values, projected)
    torch.testing.assert_close(model(values, t, known, t)[..., 8:12], filled[..., 8:12], rtol=1e-3, atol=1e-3)


def test_training_frames_with_holes_give_nearly_the_same_fit():
    data, _ = planted()
    holes = np.random.default_rng(3).random(data.shape) < 0.3
    whole, spoiled = fitted(data), fitted(np.where(holes, np.nan, data).astype(np.float32))
    overlap = torch.linalg.svdvals(whole.axes @ spoiled.axes.T)
    assert overlap.min() > 0.98
    once = Components(ENTRIES, RANK)
    once._take([np.where(holes, np.nan, data).astype(np.float32)])
    assert abs(spoiled.variance.sum() - whole.variance.sum()) < 0.5 * abs(once.variance.sum() - whole.variance.sum())


def test_a_frame_of_which_nothing_is_seen_lies_between_its_neighbours():
    data, _ = planted()
    values, known, t = asked(data[:5], slice(0, 0))
    known[0, 2] = False
    estimate = fitted(data)(values.where(known, 1e6), t, known, t)[0]
    torch.testing.assert_close(estimate[2], (estimate[1] + estimate[3]) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, ENTRIES, 50])
def test_any_rank_is_finite_where_nothing_is_known(rank):
    data, _ = planted(1600)
    model = fitted(data, rank)
    values, known, t = asked(data[:4], slice(0, None))
    assert torch.isfinite(model(values, t, known, t)).all()
    torch.testing.assert_close(model(values, t, known, t)[0], model.mean.expand(4, -1))
    assert torch.isfinite(model.std(known)).all()


def test_as_many_components_as_entries_are_solved_for_to_the_last_digit():
    rng = np.random.default_rng(2)
    data = (rng.normal(size=(300, 1)) * rng.normal(size=ENTRIES) + 1e-2 * rng.normal(size=(300, ENTRIES))).astype("f4")
    values, known, t = asked(data[:50], slice(3, 4))
    model = fitted(data, ENTRIES)
    found, spread = model(values, t, known, t), model.std(known)
    exact = model.double()
    torch.testing.assert_close(found.double(), exact(values.double(), t.double(), known, t.double()), rtol=0, atol=1e-4)
    torch.testing.assert_close(spread.double(), exact.std(known), rtol=1e-4, atol=0)
