"""The contract of every preprocessing step."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr

from neurodyn.core.errors import DataError
from neurodyn.core.files import sha256
from neurodyn.data import store
from neurodyn.data.recording import Recording
from neurodyn.preprocess import STEPS
from neurodyn.preprocess.base import LAYOUT_KINDS, Step, Workspace
from neurodyn.preprocess.chain import chain_from_steps

SHAPES = {"traces": (700, 5), "movie": (700, 9, 10)}
CASES = [(name, kind) for name in STEPS.names() for kind in sorted(STEPS.get(name).kinds)]
TOLD = {"counts": {"quantum": 0.1}}  # these traces are drawn at random: no size of one spike explains them
FOR_MOVIES = [name for name, kind in CASES if kind == "movie"]


def source(kind: str, shape: tuple[int, ...] | None = None) -> Recording:
    """Every variable that a step may ask for by default."""
    shape, rng = shape or SHAPES[kind], np.random.default_rng(0)
    blood = 0.02 * rng.normal(size=shape)
    calcium = rng.gamma(0.3, 0.1, shape)
    neural = {
        "fluorescence": 500 * (1 + calcium + blood),
        "neuropil": 100 * (1 + 0.1 * rng.normal(size=shape)),
        "reference": 400 * (1 + blood),
        "dff": calcium,
    }
    arrays = {name: values.astype("f4") for name, values in neural.items()}
    return Recording.from_arrays(arrays, rate_hz=10, indicator="GCaMP6f")


def build(name: str) -> Step:
    plugin = STEPS.get(name)
    return plugin(plugin.Params(**TOLD.get(name, {})))


def chain(name: str):
    """The step alone, its output renamed so that it overwrites nothing."""
    return chain_from_steps([{"step": name, "output": "made"} | TOLD.get(name, {})], "test")


def run(name: str, recording: Recording, path) -> Recording:
    return Recording.open(chain(name).run(recording, path))


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request) -> tuple[str, str]:
    return request.param


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory) -> Path:
    """What a step makes of its recording, once for all tests that only read it."""
    name, kind = case
    return chain(name).run(source(kind), tmp_path_factory.mktemp(name) / "out.zarr")


def test_it_makes_what_it_says_in_the_recordings_layout(case, folder):
    name, kind = case
    recording, made = source(kind), Recording.open(folder)
    step = chain(name).steps[0][1]
    assert set(made.variables) == set(recording.variables) | set(step.provides)
    for variable in step.provides:
        array = made[variable]
        if step.makes is None:
            assert array.dims == recording[step.requires[0]].dims
            assert array.shape == recording[step.requires[0]].shape
        else:
            assert LAYOUT_KINDS[array.ndim] == step.makes
            assert array.sizes["time"] == recording.neural.sizes["time"]
        assert array.dtype == np.float32
        assert array.attrs["units"]
        assert array.attrs["made_by"] == name
        assert np.isfinite(array.values).all()
        assert array.values.std() > 0
    assert made.history[-1]["step"] == name
    assert made.history[-1]["params"] == step.params.model_dump(mode="json")
    for variable in recording.variables:
        np.testing.assert_array_equal(made[variable].values, recording[variable].values)


def test_the_same_input_gives_the_same_bytes(case, folder, tmp_path):
    name, kind = case
    assert sha256(chain(name).run(source(kind), tmp_path / "out.zarr")) == sha256(folder)


def test_how_the_store_is_cut_changes_nothing(case, folder, tmp_path, monkeypatch):
    name, kind = case
    given, whole = source(kind), Recording.open(folder)["made"].values
    needed = {variable: given[variable].values for variable in build(name).requires}
    recording = Recording.from_arrays(needed, rate_hz=10, indicator="GCaMP6f")
    monkeypatch.setattr(store, "FRAMES", 128)
    monkeypatch.setattr(store, "TILE", 5)
    monkeypatch.setattr(store, "chunk_shape", lambda shape: (128, *(5 for _ in shape[1:])))
    np.testing.assert_allclose(run(name, recording, tmp_path / "cut.zarr")["made"].values, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in CASES if case[1] == "traces"], indirect=True, ids="-".join)
def test_each_roi_is_worked_on_alone(case, folder, tmp_path):
    name, _ = case
    recording, whole = source("traces"), Recording.open(folder)["made"].values
    neural = {variable: recording[variable].values[:, 2:4] for variable in recording.variables}
    part = Recording.from_arrays(neural, rate_hz=10, indicator="GCaMP6f")
    np.testing.assert_allclose(
        run(name, part, tmp_path / "part.zarr")["made"].values, whole[:, 2:4], rtol=1e-5, atol=1e-6
    )


def refuses_nan(name):
    """Say whether a step refuses NaN unless told otherwise; its own tests say what the others do."""
    return getattr(build(name).params, "nan", "error") == "error"


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if refuses_nan(case[0])])
def test_nan_is_refused_and_nothing_is_written(name, kind, tmp_path):
    recording = source(kind)
    first = build(name).requires[0]
    neural = {variable: recording[variable].values.copy() for variable in recording.variables}
    neural[first][33, 1] = np.nan
    broken = Recording.from_arrays(neural, rate_hz=10, indicator="GCaMP6f")
    with pytest.raises(DataError, match=first) as error:
        run(name, broken, tmp_path / "out.zarr")
    assert "frame 33" in error.value.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", STEPS.names())
def test_a_recording_without_rois_is_refused(name, tmp_path):
    with pytest.raises(DataError, match="is empty") as error:
        run(name, source("traces", (700, 0)), tmp_path / "out.zarr")
    assert "0 roi" in error.value.found


@pytest.mark.parametrize("name", STEPS.names())
def test_it_explains_itself(name):
    plugin, step = STEPS.get(name), build(name)
    assert plugin.__doc__
    assert STEPS.summary(name).endswith(".")
    sentence = step.methods()
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0
    assert step.provides
    assert set(step.provides).isdisjoint(step.requires)
    for field, info in plugin.Params.model_fields.items():
        assert info.description, f"{name}.{field} has no description"
        assert not info.is_required(), f"{name}.{field} has no default"
    assert plugin.kinds <= {"traces", "movie"}


@pytest.mark.parametrize("name", FOR_MOVIES)
def test_memory_does_not_grow_with_the_movie(name, tmp_path):
    def peak(frames: int) -> int:
        step = build(name)
        rng = np.random.default_rng(0)
        root = zarr.open_group(tmp_path / f"{frames}.zarr", mode="w", zarr_format=3)
        for variable in {*step.requires}:
            attrs = {"units": "counts", "made_by": "source"}
            array = store.create_variable(root, variable, (frames, 64, 64), ("time", "y", "x"), np.uint16, attrs)
            for start in range(0, frames, 1024):
                array[start : start + 1024] = 500 + rng.integers(0, 50, (min(1024, frames - start), 1, 1))
        brain = np.zeros((64, 64), dtype=bool)
        brain[:2, :2] = True
        workspace = Workspace(root, 2.0, np.arange(frames) / 2.0, brain, "GCaMP6f")
        tracemalloc.start()
        try:
            step.apply(workspace)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    short, long = peak(1024), peak(4608)
    chunk = 4 * 2**20  # one more may be on its way where threads have to wait for a processor
    assert long < 1.25 * short + chunk
    assert long < 4608 * 64 * 64 * 4
