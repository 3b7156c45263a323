"""Interpolation between visible frames, against numpy and scipy entry by entry."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from neurodyn.backends.baselines.spline import spline_weights
from tests.backends.baselines import brain, generator, make, make_batch


def patchy(frames: int = 9):
    """Every entry is visible in frames of its own, at least four."""
    batch = make_batch(frames, irregular=True)
    drawn = torch.rand(batch.x.shape, generator=generator(2))
    visible = batch.valid & (drawn.argsort(1).argsort(1) < 4 + (drawn[:, :1] * 4).int())
    return replace(batch, visible=visible)


def asked(batch):
    inner = batch.t[:, :1] + torch.rand(len(batch.t), 7, generator=generator(3)) * 0.8
    return torch.cat([batch.t[:, :1] - 0.05, inner, batch.t[:, -1:] + 0.05], dim=1)  # in no order


def entry_by_entry(batch, times, curve):
    out = np.zeros((*times.shape, *batch.x.shape[2:]), np.float32)
    for b in range(len(out)):
        for y, x in np.argwhere(brain()):
            seen = batch.visible[b, :, y, x].numpy()
            t, values = batch.t[b].numpy()[seen], batch.x[b, :, y, x].numpy()[seen]
            out[b, :, y, x] = curve(times[b].numpy(), t, values)
    return torch.from_numpy(out)


@pytest.mark.parametrize("boundary", ["not-a-knot", "natural"])
def test_the_spline_is_scipys_through_the_visible_frames_of_each_entry(boundary):
    batch = patchy()
    times = asked(batch)

    def curve(q, t, values):
        return CubicSpline(t, values, bc_type=boundary)(q.clip(t[0], t[-1]))

    expected = entry_by_entry(batch, times, curve)
    torch.testing.assert_close(make("spline", 9, boundary=boundary).at(batch, times), expected, rtol=1e-4, atol=1e-4)


def test_few_visible_frames_are_joined_by_their_polynomial():
    t, at = np.array([0.0, 0.1, 0.25, 0.3, 0.5]), np.linspace(0.1, 0.5, 9)
    values = np.array([1.0, 3.0, -2.0, 0.5, 4.0])
    for shown in ([1, 4], [1, 2, 4]):
        visible = np.isin(np.arange(5), shown)
        for boundary in ("not-a-knot", "natural"):
            expected = np.polyval(np.polyfit(t[shown], values[shown], len(shown) - 1), at)
            np.testing.assert_allclose(spline_weights(t, visible, at, boundary) @ values, expected, atol=1e-9)
    assert (spline_weights(t, np.arange(5) == 2, at, "natural") @ values == -2.0).all()
    assert (spline_weights(t, np.zeros(5, bool), at, "natural") == 0).all()


def test_linear_is_numpys():
    batch = patchy()
    times = asked(batch)
    torch.testing.assert_close(make("linear", 9).at(batch, times), entry_by_entry(batch, times, np.interp))


def test_persistence_holds_the_last_visible_value():
    batch = patchy()
    times = asked(batch)

    def curve(q, t, values):
        return values[np.searchsorted(t, q, side="right").clip(1) - 1]

    torch.testing.assert_close(make("persistence", 9).at(batch, times), entry_by_entry(batch, times, curve))


@pytest.mark.parametrize("name", ["linear", "spline", "persistence"])
def test_visible_values_come_back_and_an_entry_never_visible_gets_its_mean(name):
    model, batch = make(name), make_batch(hide=(3, 4))
    batch.visible[:, :, 4, 4] = False
    mean = model(batch).mean
    torch.testing.assert_close(mean[batch.visible], batch.x[batch.visible])
    torch.testing.assert_close(mean[0, 0, 4, 4].item(), 3.0, rtol=0, atol=0.5)
    assert (mean[..., 4, 4] == mean[0, 0, 4, 4]).all()


def test_errors_vanish_on_curves_of_the_right_degree_only():
    cubic = make_batch()
    t = cubic.t[..., None, None]
    for degree, exact in ((1, ("linear", "spline")), (3, ("spline",))):
        batch = replace(cubic, x=(10 * (t - 0.3) ** degree).expand(cubic.x.shape).where(cubic.valid, 0.0))
        for name in ("linear", "spline", "persistence"):
            parts = make(name, hide=2).loss(batch, generator())
            assert parts["visible"] < 1e-8
            assert (parts["hidden"] < 1e-8) == (name in exact), (degree, name)


def test_errors_are_taken_to_the_target():
    batch = make_batch()
    model = make("linear")
    shifted = replace(batch, targets=batch.x + 2 * batch.valid)
    torch.testing.assert_close(model.loss(shifted, generator())["visible"].item(), 1.0, rtol=0.1, atol=0)
