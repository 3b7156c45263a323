"""Models of several sessions with cells of their own."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neurodyn.backends import BACKENDS
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.report.page import report
from neurodyn.runs.config import RunConfig
from neurodyn.training.batches import read_batch, session_chunks
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from neurodyn.training.run import load_run

CELLS = {"monday": 5, "tuesday": 3, "friday": 4}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(BACKENDS._table, "sessions", "tests.training.toy:Sessions")


def recording(folder: Path, session: str, cells: int, level: float, file: str | None = None) -> Path:
    """Save cells with levels of their own: level, level + 1, …; the first misses one frame."""
    rng = np.random.default_rng(cells)
    data = level + np.arange(cells) + 0.1 * rng.normal(size=(400, cells))
    data[7, 0] = np.nan
    made = Recording.from_arrays({"dff": data.astype(np.float32)}, rate_hz=10, session=session)
    return made.save(folder / f"{file or session}.zarr")


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("days")
    return [recording(folder, name, cells, 10.0 * k) for k, (name, cells) in enumerate(CELLS.items())]


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return RunConfig.model_validate({
        "name": "sessions", "backend": "sessions", "windows": {"duration": 0.8},
        "training": {"epochs": 2, "steps_per_epoch": 2, "warmup": 0, "lr": 1e-9, "weight_decay": 0.0},
    })  # fmt: skip


@pytest.fixture(scope="module")
def finished(config, days, tmp_path_factory) -> Path:
    patch = pytest.MonkeyPatch()
    patch.setitem(BACKENDS._table, "sessions", "tests.training.toy:Sessions")
    out = fit(config, None, days, tmp_path_factory.mktemp("runs") / "run", gpu="none")
    infer(out, gpu="none")
    patch.undo()
    return out


def test_the_model_learns_how_many_cells_each_session_has(finished):
    layout = load_run(finished).backend.layout
    assert layout.cells == (5, 3, 4)
    assert layout.sessions == ("monday", "tuesday", "friday")
    assert layout.space == (5,)
    assert layout.brain.all()


def test_windows_are_padded_and_chunks_are_not(finished, days):
    windows = load_run(finished).windows["train"]
    batch = read_batch(windows, slice(None))
    assert batch.x.shape[2] == 5
    for index, (path, cells) in enumerate(zip(days, CELLS.values(), strict=True)):
        mine = batch.session == index
        assert mine.any()
        assert not batch.valid[mine][..., cells:].any()
        assert (batch.x[mine][..., cells:] == 0).all()
        first = int(windows.first[np.flatnonzero(mine.numpy())[0]])
        data = Recording.open(path)["dff"].values[first : first + windows.frames]
        np.testing.assert_array_equal(batch.x[mine][0][:, :cells], np.nan_to_num(data))
    seen = [(session, chunk.shape[2]) for session, chunk in session_chunks(windows)]
    assert seen == [(0, 5), (1, 3), (2, 4)]
    total = sum(np.nansum(chunk, dtype=float) for _, chunk in session_chunks(windows))
    assert total == pytest.approx(float(batch.x.double().sum()))


def test_predictions_are_of_the_sessions_own_cells(finished):
    prediction = xr.open_zarr(finished / "prediction.zarr", consolidated=False)
    for index, cells in enumerate(CELLS.values()):
        mine = prediction.isel(window=np.flatnonzero(prediction["session"].values == index))
        assert mine.sizes["window"]
        for name in ("mean", "hidden_mean", "linear", "observed"):
            assert np.isnan(mine[name].values[..., cells:]).all(), name
        expected = 10.0 * index + np.arange(cells)
        np.testing.assert_allclose(mine["mean"].values[..., :cells].mean((0, 1)), expected, atol=0.05)
        assert np.isfinite(mine["latents"]).all()


def test_levels_of_cells_and_sessions_explain_nothing(finished):
    scores = {s.split: s.value for s in read_scores(finished / "reconstruction.csv") if s.metric == "reconstruction_r2"}
    assert all(abs(value) < 0.05 for value in scores.values())  # the model knows nothing but those levels


def test_a_session_alone_is_recognised_by_its_name(finished, days, config, tmp_path):
    own = xr.open_zarr(finished / "prediction.zarr", consolidated=False).load()
    again = fit(config, None, days, tmp_path / "run", gpu="none")
    infer(again, [days[1]], gpu="none")
    alone = xr.open_zarr(again / "prediction.zarr", consolidated=False)
    assert set(alone["session"].values) == {0}
    tuesday = own.isel(window=np.flatnonzero(own["session"].values == 1))
    np.testing.assert_array_equal(alone["mean"][0], tuesday["mean"][0])
    run = load_run(again)
    assert (read_batch(run.cut([days[2], days[1]]), slice(None)).session.unique() == np.array([1, 2])).all()
    with pytest.raises(DataError, match="sunday with 5 cells") as error:
        run.cut([recording(tmp_path, "sunday", 5, 0.0)])
    assert "tuesday (3)" in error.value.found
    with pytest.raises(DataError, match="tuesday with 4 cells"):
        run.cut([recording(tmp_path, "tuesday", 4, 0.0)])


def test_a_model_of_one_session_takes_others_of_its_shape(days, config, tmp_path):
    out = fit(config, None, days[:1], tmp_path / "run", gpu="none")
    run = load_run(out)
    twins = [recording(tmp_path, name, 5, 0.0) for name in ("sunday", "saturday")]
    assert (read_batch(run.cut(twins), slice(None)).session == 0).all()
    with pytest.raises(DataError, match="does not fit"):
        run.cut([days[1]])


def test_sessions_of_one_name_are_refused(config, tmp_path):
    twins = [recording(tmp_path, "monday", 3, 0.0, file) for file in ("a", "b")]
    with pytest.raises(DataError, match="one session name"):
        fit(config, None, twins, tmp_path / "run", gpu="none")
    assert not (tmp_path / "run").exists()


def test_other_models_refuse_sessions_that_differ(days, tmp_path):
    for preset in ("cst-tiny", "pca"):
        with pytest.raises(DataError, match="do not share one shape"):
            fit(load_run_config(preset)[0], None, days, tmp_path / preset, gpu="none")


def test_rates_must_still_agree(config, days, tmp_path):
    other = Recording.from_arrays({"dff": np.zeros((400, 2), np.float32)}, rate_hz=20, session="sunday")
    with pytest.raises(DataError, match="rate"):
        fit(config, None, [days[0], other.save(tmp_path / "fast.zarr")], tmp_path / "run", gpu="none")


def test_the_report_shows_a_padded_run(finished, tmp_path):
    assert report([finished], tmp_path / "report.html").stat().st_size > 10_000


def test_movies_whose_sessions_have_vectors_are_told_by_name(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for name in ("monday", "tuesday", "friday"):
        movie = Recording.from_arrays({"dff": rng.random((200, 8, 8), np.float32)}, rate_hz=10, session=name)
        paths.append(movie.save(tmp_path / f"{name}.zarr"))
    sets = (
        "model.patch=[4,4]",
        "windows.duration=0.8",
        "training.epochs=1",
        "training.steps_per_epoch=2",
        "training.warmup=1",
    )
    apart, alike = (
        load_run(
            fit(load_run_config("cst-tiny", None, (*sets, *more))[0], None, paths[:2], tmp_path / name, gpu="none")
        )
        for name, more in (("apart", ("model.session_embedding=true",)), ("alike", ()))
    )
    assert read_batch(apart.cut(paths[1:2]), np.arange(2)).session.tolist() == [1, 1]
    with pytest.raises(DataError, match="not trained on session friday") as caught:
        apart.cut(paths[2:])
    assert caught.value.found == "It knows monday, tuesday."
    assert len(alike.cut(paths[2:])) > 0
    infer(apart.path, paths[1:2], gpu="none")
