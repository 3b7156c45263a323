"""From a run folder or a recording to a table of scores; real gratings at published accuracy."""

import re

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError, UnknownNameError
from neurodyn.core.files import read_json
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode.run import decode
from neurodyn.decode.settings import DecodeConfig
from tests.decode.runs import join_runs, simulated
from tests.decode.runs import make_run as make_latents_run
from tests.report.fake_run import make_run, traces

EVENTS = WindowConfig(duration=3.0, align="events", offset=-1.0)


def pooled(path, metric):
    return {(s.features, s.split): s for s in read_scores(path) if s.fold == "all" and s.metric == metric}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("decode") / "run")


def test_a_run_is_decoded_beside_its_baselines(run):
    path = decode(run, config=DecodeConfig(target="contrast", splits=("blocked", "random"), shuffles=20))
    assert path == run / "scores.csv"
    scores = pooled(path, "r2")
    assert {split for _, split in scores} == {"blocked", "random"}
    models = {features: score.model for (features, _), score in scores.items()}
    assert models == {
        "dff:last+change": "none", "dff:patches": "none", "pca:best": "none",
        "reduced_rank:last": "none", "latents:best": "cst", "reconstruction:last+change": "cst",
    }  # fmt: skip
    assert scores["pca:best", "blocked"].value > 0.3
    assert "chosen inside training folds" in scores["latents:best", "blocked"].note
    assert len({score.n for score in scores.values()}) == 1
    made = read_json(run / "decode.json")
    assert made["config"]["target"] == "contrast"
    assert made["sessions"][0]["features"]["pca:best"] == 200  # of its widest form


def test_rows_are_compared_with_those_that_are_named(run):
    named = ("reduced_rank", "dff:patches")
    config = DecodeConfig(target="contrast", shuffles=5, name="against", against=named)
    scores = pooled(decode(run, config=config), "r2")
    for (features, _), score in scores.items():
        for other in ("reduced_rank:last", "dff:patches"):
            assert (f"minus {other}:" in score.note) == (features != other)
        assert "minus dff:last" not in score.note
    said = re.search(r"minus dff:patches: (-?[\d.]+)", scores["latents:best", "blocked"].note)
    difference = scores["latents:best", "blocked"].value - scores["dff:patches", "blocked"].value
    assert float(said[1]) == pytest.approx(difference, abs=6e-4)
    with pytest.raises(UnknownNameError, match="no row to compare with named 'lstm'"):
        decode(run, config=config.model_copy(update={"against": ("lstm",)}))


def test_named_decodings_live_side_by_side_and_repeat_exactly(run):
    config = DecodeConfig(target="contrast", shuffles=5, name="second", features=("attention",))
    path = decode(run, config=config)
    assert path == run / "scores-second.csv"
    before = path.read_bytes(), (run / "decode-second.json").read_bytes()
    decode(run, config=config)
    assert before == (path.read_bytes(), (run / "decode-second.json").read_bytes())


def test_the_paper_protocol(run):
    path = decode(run, config=DecodeConfig(target="contrast", protocol="paper", shuffles=5, name="paper"))
    scores = read_scores(path)
    assert {s.decoder for s in scores} == {"knn"}
    assert {s.split for s in scores} == {"random", "blocked"}
    assert len([s for s in scores if s.features == "dff:flat" and s.metric == "mse" and s.split == "random"]) == 11


def test_a_bare_recording(tmp_path):
    source = traces().save(tmp_path / "mouse2.zarr")
    path = decode(source, config=DecodeConfig(target="orientation%180", task="classify", windows=EVENTS, shuffles=20))
    assert path == tmp_path / "mouse2.decode" / "scores.csv"
    score = pooled(path, "accuracy")["dff:response", "blocked"]
    assert score.decoder == "lda"
    assert score.value > 0.9
    assert score.null_mean < 0.4


def test_what_does_not_fit_is_refused(run, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        decode(tmp_path / "nothing", config=DecodeConfig(target="contrast"))
    with pytest.raises(ConfigError, match="held-out windows only"):
        decode(run, config=DecodeConfig(target="contrast", on="all"))
    with pytest.raises(ConfigError, match="no trials to split by"):
        decode(run, config=DecodeConfig(target="pupil", splits=("trial",)))
    empty = tmp_path / "run"
    empty.mkdir()
    (empty / "config.yaml").write_text("name: cst\n", encoding="utf-8")
    with pytest.raises(DataError, match="no prediction to decode"):
        decode(empty, config=DecodeConfig(target="contrast"))
    few = traces(trials=4).save(tmp_path / "few.zarr")
    with pytest.raises(DataError, match="too few trials for"):
        decode(few, config=DecodeConfig(target="orientation%180", windows=EVENTS))


def gratings(path):
    """Build a recording from trials of V1 responses, a second of silence between them."""
    packed = np.load(path)
    trials, step = packed["X"].transpose(0, 2, 1), float(packed["dt"])
    span = trials.shape[1] * step + 1
    time = (np.arange(len(trials))[:, None] * span + np.arange(trials.shape[1]) * step).ravel()
    onset = np.arange(len(trials)) * span + 1.0
    stimulus = {"start": onset, "stop": onset + 2.0, "direction": packed["direction"]}
    return Recording.from_arrays(
        {"dff": trials.reshape(-1, trials.shape[2])}, time=time, session=path.stem, stimulus=stimulus
    )


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("230809_mrcuts28_fov4", (0.95, 0.60), (1.0, 1.0)), ("230804_mrcuts27_fov3", (0.0, 0.0), (0.6, 0.4))],
)
def test_gratings_decode_as_published(shared_data, tmp_path, name, least, most):
    source = gratings(shared_data / "park_v1_gratings" / f"{name}.npz").save(tmp_path / "park.zarr")
    windows = WindowConfig(duration=49 * 0.0625, align="events", offset=-1.0)
    for target, low, high in zip(("direction%180", "direction"), least, most, strict=True):
        config = DecodeConfig(target=target, task="classify", splits=("trial",), windows=windows, shuffles=20)
        score = pooled(decode(source, config=config), "accuracy")["dff:response", "trial"]
        assert score.n == 128
        assert low <= score.value <= high
        assert score.null_mean == pytest.approx(0.25 if "%" in target else 0.125, abs=0.05)


def test_sessions_with_cells_of_their_own_are_decoded_as_if_alone(tmp_path):
    sources = [simulated(tmp_path, bins=20, held_out=12, seed=k, cells=cells) for k, cells in enumerate((12, 7))]
    runs = [make_latents_run(tmp_path / f"run-{k}", path, seed=k) for k, path in enumerate(sources)]
    joined = join_runs(runs, tmp_path / "joined")
    features = ("dff:mean", "pca:mean", "latents:mean", "reconstruction:mean", "rates:mean")
    config = DecodeConfig(target="condition", task="regress", decoder="knn", features=features, shuffles=0)

    def values(path):
        return {
            (s.session, s.features, s.metric): s.value
            for s in read_scores(decode(path, config=config))
            if s.fold == "all"
        }

    assert values(joined) == values(runs[0]) | values(runs[1])
