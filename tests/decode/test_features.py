"""Features against direct computation; projections blind to what is decoded."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodyn.core.errors import ConfigError, DataError, UnknownNameError
from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.decode import features as module
from neurodyn.decode.features import build_features, build_forms, feature_names, patch_index
from neurodyn.decode.foretelling import foretelling_stretches, free_frames
from neurodyn.decode.projection import fit_projection
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source, open_source
from neurodyn.metrics.reduced_rank import fit_reduced_rank
from tests.decode.runs import make_run as make_latents_run
from tests.decode.runs import simulated
from tests.report.fake_run import make_run, movie, traces

CONFIG = DecodeConfig(target="contrast")


@pytest.fixture(scope="module")
def split():
    windows = Windows.cut([movie(trials=20)], WindowConfig(duration=1.0, stride=0.5))
    parts = windows.split()
    return Source(parts["test"], parts["train"])


@pytest.mark.parametrize(
    ("reduction", "direct"),
    [
        ("last", lambda v: v[:, -1]),
        ("change", lambda v: v[:, -1] - v[:, 0]),
        ("mean", lambda v: v.mean(1)),
        ("flat", lambda v: v.reshape(len(v), -1)),
        ("last+change", lambda v: np.concatenate([v[:, -1], v[:, -1] - v[:, 0]], axis=1)),
    ],
)
def test_reductions(split, reduction, direct, monkeypatch):
    values = split.windows.values()[0][:, :, split.windows.brain]
    monkeypatch.setattr(module, "CHUNK_BYTES", 100_000)  # several chunks
    np.testing.assert_allclose(build_features(f"dff:{reduction}", split, CONFIG), direct(values), rtol=1e-5, atol=1e-7)


def test_response_is_after_minus_before_the_event():
    source = Source(Windows.cut([traces(trials=8)], WindowConfig(duration=3.0, align="events", offset=-1.0)), None)
    values = source.windows.values()[0]
    expected = values[:, 10:].mean(1) - values[:, :10].mean(1)
    np.testing.assert_allclose(build_features("dff:response", source, CONFIG), expected, atol=1e-6)
    assert feature_names(source, CONFIG) == ["dff:response", "dff:mean"]


def test_patches_are_means_inside_the_brain(split):
    values, brain = split.windows.values()[0][:, -1], split.windows.brain
    index = patch_index(brain.shape, (2, 3))
    assert set(np.unique(index)) == set(range(6))
    expected = np.stack([values[:, brain & (index == k)].mean(1) for k in range(6)], axis=1)
    found = build_features("dff:patches", split, CONFIG.model_copy(update={"grid": (2, 3)}))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_projection_ignores_every_decoded_frame(split):
    before = fit_projection(split, CONFIG)
    recording = split.recording
    movie_values = recording["dff"].values.copy()
    for first in split.windows.first:
        movie_values[first : first + split.windows.frames] = 99
    disturbed = Recording.from_arrays(
        {"dff": movie_values}, rate_hz=10.0, brain=recording.brain,
        stimulus={str(n): c.values for n, c in recording.stimulus.data_vars.items()},
    )  # fmt: skip
    parts = Windows.cut([disturbed], split.windows.config).split()
    after = fit_projection(Source(parts["test"], parts["train"]), CONFIG)
    np.testing.assert_array_equal(before.axes, after.axes)


def test_projection_is_orthonormal_and_gives_last_and_change(split):
    projection = fit_projection(split, CONFIG)
    np.testing.assert_allclose(projection.axes.T @ projection.axes, np.eye(20), atol=1e-4)
    scores = projection(split.windows.values()[0])
    expected = np.concatenate([scores[:, -1], scores[:, -1] - scores[:, 0]], axis=1)
    np.testing.assert_allclose(build_features("pca:last+change", split, CONFIG), expected, atol=1e-4)


def test_a_run_shows_raw_rows_beside_its_model(tmp_path):
    source = open_source(make_run(tmp_path / "run"), CONFIG)
    assert feature_names(source, CONFIG) == [
        "dff:last+change", "dff:patches", "pca:best", "reduced_rank:last", "latents:best", "reconstruction:last+change",
    ]  # fmt: skip
    attention = CONFIG.model_copy(update={"features": ("attention", "raw:mean")})
    assert feature_names(source, attention)[-2:] == ["attention:flat", "dff:mean"]
    observed = source.prediction["observed"].values
    np.testing.assert_allclose(source.windows.values()[0], np.nan_to_num(observed), atol=1e-6)
    assert build_features("attention:flat", source, CONFIG).shape == (len(source.windows), 60)
    assert build_features("reconstruction:last+change", source, CONFIG).shape == (len(source.windows), 40)
    latents = source.prediction["latents"].values
    np.testing.assert_allclose(
        build_features("latents:last+change", source, CONFIG),
        np.concatenate([latents[:, -1], latents[:, -1] - latents[:, 0]], axis=1),
    )


def test_what_else_a_model_infers_can_be_decoded(tmp_path):
    run = make_latents_run(tmp_path / "run", simulated(tmp_path, bins=20))
    source = open_source(run, CONFIG)
    names = ("rates:mean", "inferred_spikes:mean")
    assert feature_names(source, CONFIG.model_copy(update={"features": names}))[-2:] == list(names)
    for name, given in zip(names, ("rates", "spikes"), strict=True):
        expected = source.prediction[given].values.mean(axis=1)
        np.testing.assert_allclose(build_features(name, source, CONFIG), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(DataError, match="no feature 'inputs'"):
        build_features("inputs:mean", source, CONFIG)


def test_what_does_not_exist_is_named(split):
    with pytest.raises(DataError, match="no feature 'spikes'"):
        build_features("spikes:last", split, CONFIG)
    with pytest.raises(DataError, match="bare recording has no model"):
        build_features("latents:last", split, CONFIG)
    with pytest.raises(UnknownNameError, match="no reduction named 'lst'"):
        feature_names(split, CONFIG.model_copy(update={"features": ("dff:lst",)}))
    with pytest.raises(ConfigError, match="before and after the event"):
        build_features("dff:response", split, CONFIG)
    with pytest.raises(ConfigError, match="needs training frames"):
        build_features("pca:last", Source(split.windows, None), CONFIG)
    flat = Source(Windows.cut([traces(trials=4)], WindowConfig()), None)
    with pytest.raises(ConfigError, match="needs a movie"):
        build_features("dff:patches", flat, CONFIG)


def test_reduced_rank_tells_the_next_half_second_of_training_frames_alone(split):
    codes = build_features("reduced_rank:last", split, CONFIG)
    project = fit_projection(split, CONFIG)
    first = foretelling_stretches(split)
    held = free_frames(split)
    assert all(held[start : start + 15].all() for start in first)
    assert set(first) == {start for start in range(held.size - 14) if held[start : start + 15].all()}
    scores = project(split.recording["dff"].values[None])[0]
    found = fit_reduced_rank(scores[first[:, None] + np.arange(10)], scores[first[:, None] + np.arange(10, 15)])
    np.testing.assert_allclose(codes, found(project(split.windows.values()[0]))[:, -1], rtol=1e-3, atol=1e-4)


def test_reduced_rank_is_left_out_where_too_little_was_held_out():
    windows = Windows.cut([movie(trials=20)], WindowConfig(duration=1.0))
    few = Source(windows.take(np.arange(20, 60)), windows.take(np.arange(6)))
    assert "reduced_rank:last" not in feature_names(few, CONFIG)
    with pytest.raises(DataError, match="too few training frames for reduced_rank"):
        build_features("reduced_rank:last", few, CONFIG)


def with_summary(tmp_path, parts):
    source = open_source(make_run(tmp_path / "run"), CONFIG)
    summary = np.random.default_rng(0).normal(size=(len(source.windows), 7)).astype(np.float32)
    told = {"parts": parts} if parts else {}
    return replace(source, prediction=source.prediction.assign(summary=(("window", "kept"), summary, told))), summary


def test_a_summary_is_one_row_per_window(tmp_path):
    source, summary = with_summary(tmp_path, {})
    assert feature_names(source, CONFIG)[4] == "summary:whole"
    np.testing.assert_array_equal(build_features("summary:whole", source, CONFIG), summary)
    with pytest.raises(UnknownNameError, match="no reduction named 'last'"):
        feature_names(source, CONFIG.model_copy(update={"features": ("summary:last",)}))


def test_training_folds_choose_among_the_parts_of_a_summary(tmp_path):
    source, summary = with_summary(tmp_path, {"sources": 4, "state": 3})
    assert feature_names(source, CONFIG)[4] == "summary:best"
    forms = build_forms("summary:best", source, CONFIG)
    assert list(forms) == ["whole", "sources", "state"]
    np.testing.assert_array_equal(forms["state"], summary[:, 4:])
    np.testing.assert_array_equal(build_features("summary:sources", source, CONFIG), summary[:, :4])
    with pytest.raises(ConfigError, match="whole stands alone"):
        feature_names(source, CONFIG.model_copy(update={"features": ("summary:whole+state",)}))


def test_training_folds_choose_among_reductions_of_what_a_model_infers(tmp_path):
    source = open_source(make_run(tmp_path / "run"), CONFIG)
    latents = source.prediction["latents"].values
    forms = build_forms("latents:best", source, CONFIG)
    assert list(forms) == ["last+change", "mean", "flat"]
    np.testing.assert_allclose(forms["mean"], latents.mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(forms["flat"], latents.reshape(len(latents), -1))
    np.testing.assert_array_equal(build_features("latents:initial", source, CONFIG), latents[:, 0])
    paper = CONFIG.model_copy(update={"protocol": "paper", "features": ("latents",)})
    assert "latents:last+change" in feature_names(source, paper)  # the published protocol leaves nothing to choose


def test_factors_of_cells_leave_out_what_one_cell_does_by_itself():
    rng = np.random.default_rng(0)
    shared = gaussian_filter1d(rng.normal(size=(1200, 2)), 10, axis=0) * 5
    dff = shared @ rng.normal(size=(2, 12)) + 0.3 * rng.normal(size=(1200, 12))
    dff[:, 0] += 8 * rng.normal(size=1200)
    windows = Windows.cut(
        [Recording.from_arrays({"dff": dff.astype(np.float32)}, rate_hz=10.0)], WindowConfig(duration=1.0)
    )
    parts = windows.split()
    source, config = Source(parts["test"], parts["train"]), CONFIG.model_copy(update={"components": 2})
    assert "factors:best" in feature_names(source, config)
    project = fit_projection(source, config, "factors")
    loud, others = np.abs(project.axes[0]).max(), np.abs(project.axes[1:]).max()
    assert loud < 0.02 * others
    pca = fit_projection(source, config)
    assert np.abs(pca.axes[0]).max() > 0.9
    at = source.windows.first[:, None] + np.arange(source.windows.frames)
    values = project(source.windows.values()[0]).reshape(-1, 2)
    truth = shared[at].reshape(-1, 2)
    fitted = np.linalg.lstsq(values - values.mean(0), truth - truth.mean(0), rcond=None)[0]
    left = ((truth - truth.mean(0) - (values - values.mean(0)) @ fitted) ** 2).sum() / (
        (truth - truth.mean(0)) ** 2
    ).sum()
    assert left < 0.02
