"""Models of several signals, scored on what is hidden from them, on the command line."""

import numpy as np

from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores


def test_a_channel_from_another_is_trained_scored_and_reported(neurodyn, tmp_path):
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(400)[:, None, None] / 4 + np.arange(8)) * np.ones((1, 8, 1))
    movies = {name: (wave + 0.2 * rng.normal(size=(400, 8, 8))).astype(np.float32) for name in ("dff", "reference_dff")}
    path = Recording.from_arrays(movies, rate_hz=10, session="two").save(tmp_path / "two.zarr")
    small = "model={token: [5, 4, 4], width: 16, heads: 2, layers: 1, decoder_layers: 1, base: none, members: 4}"
    brief = "training={epochs: 1, steps_per_epoch: 3, batch: 4, warmup: 1}"
    windows = "windows={others: [reference_dff], duration: 1.0, stride: 0.5}"
    trained = neurodyn(
        "train", "atmorep", path, "-o", tmp_path / "run", *(f"--set={s}" for s in (small, brief, windows))
    )
    assert trained.code == 0, trained.err
    asked = ("--metric", "imputation", "--set", "hide=channel", "--set", "signal=reference_dff")
    scored = neurodyn("evaluate", tmp_path / "run", *asked, "-o", tmp_path / "scores")
    assert scored.code == 0, scored.err
    scores = {s.metric: s for s in read_scores(tmp_path / "scores" / "scores.csv") if s.fold == "all"}
    assert scores["imputation_r2"].target == "reference_dff, channel"
    assert 0 < scores["crps_ensemble"].value < 2
    ranks = [s for s in read_scores(tmp_path / "scores" / "scores.csv") if s.metric == "rank_histogram"]
    assert len(ranks) == 5 and abs(sum(s.value for s in ranks) - 1) < 1e-6
    assert neurodyn("report", tmp_path / "scores", "-o", tmp_path / "r.html").code == 0
    assert "Rank histograms" in (tmp_path / "r.html").read_text(encoding="utf-8")
    data = movies["dff"].copy()
    data[100:105] = np.nan
    holed = Recording.from_arrays(movies | {"dff": data}, rate_hz=10, session="two").save(tmp_path / "holed.zarr")
    filled = neurodyn("impute", holed, "--run", tmp_path / "run", "-o", tmp_path / "filled.zarr")
    assert filled.code == 0, filled.err
    after = Recording.open(tmp_path / "filled.zarr")
    assert after["dff_imputed"].values.sum() == 5 * 64 and not after["reference_dff_imputed"].values.any()
    assert (after["dff_sd"].values[100:105] > 0).all()
    np.testing.assert_array_equal(after["reference_dff"].values, movies["reference_dff"])
