"""Decoders of one session, tested on another one of the same cells."""

import re

import numpy as np
import pytest
import xarray as xr

import neurodyn as nd
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import read_json
from neurodyn.data.guesses import read_guesses
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.decode.check import check
from neurodyn.decode.run import decode
from neurodyn.decode.settings import DecodeConfig
from neurodyn.report.decoding import decoding_summary
from tests.decode.sliding_trials import WINDOWS, axes_of, trials, while_on

CELLS = 12
ORDER = np.random.default_rng(5).permutation(CELLS)  # of the second half's cells


def halves(*, count=96, ids=False, strength=0.7, seed=0):
    """Return two halves of one recording, the cells of the second in another order."""
    whole = trials(while_on(strength * axes_of(1, CELLS), 0.0, 1.0), count=count, cells=CELLS, seed=seed)
    stimulus, middle = whole.stimulus, count // 2
    edge = float(stimulus["start"].values[middle]) - 0.5 - 1e-9
    made = []
    for name, frames, events, order in (
        ("one", whole.time < edge, slice(middle), np.arange(CELLS)),
        ("two", whole.time >= edge, slice(middle, None), ORDER),
    ):
        dff, cut = whole["dff"].values[frames][:, order], whole.time[frames]
        table = {key: stimulus[key].values[events] for key in ("start", "stop", "image")}
        rois = xr.Dataset({"cell": ("roi", order)}) if ids else None
        made.append(
            Recording.from_arrays({"dff": dff}, rate_hz=20.0, time=cut, stimulus=table, session=name, rois=rois)
        )
    return made


def matching(path, rows):
    path.write_text("cell,one,two\n" + "".join(f"{k},{a},{b}\n" for k, (a, b) in enumerate(rows)))
    return path


def saved(folder, **settings):
    one, two = (half.save(folder / f"{half.session}.zarr") for half in halves(**settings))
    return one, {"target": "image", "windows": WINDOWS, "on_session": two, "shuffles": 40}


def pooled(table, metric="accuracy", features="dff:response"):
    rows = [s for s in read_scores(table) if s.fold == "all" and s.metric == metric and s.features == features]
    return {s.split: s for s in rows}


RIGHT = list(enumerate(np.argsort(ORDER)))


def test_matched_cells_decode_as_well_as_within_and_wrongly_matched_ones_at_chance(tmp_path):
    one, settings = saved(tmp_path)
    table = decode(one, config=DecodeConfig(**settings, matching=matching(tmp_path / "right.csv", RIGHT)))
    assert table == tmp_path / "one-on-two.decode" / "scores.csv"
    found = pooled(table)
    within, across = found["blocked"], found["session"]
    assert within.value > 0.7
    assert abs(across.value - within.value) < 0.1
    assert across.ci_low < across.value < across.ci_high
    assert (across.session, across.n, across.p) == ("two", 48, pytest.approx(1 / 41))
    assert across.note.startswith("trained on one, 48 trials; 12 cells are shared by right.csv; chance 0.354")
    assert "interval: session split, 95 %, for the decoders as they were trained" in across.note
    assert read_json(table.with_name("decode.json"))["sessions"][0]["across"] in across.note
    wrong = matching(tmp_path / "wrong.csv", enumerate(np.roll(np.argsort(ORDER), 5)))
    lost = pooled(decode(one, config=DecodeConfig(**settings, matching=wrong)))["session"]
    assert lost.value < 0.52 and lost.p > 0.05
    assert abs(lost.null_mean - 1 / 3) < 0.03


def test_cells_are_found_by_ids_and_the_report_says_what_was_trained_on(tmp_path):
    one, settings = saved(tmp_path, ids=True)
    table = decode(one, config=DecodeConfig(**settings))
    listed = decode(one, config=DecodeConfig(**settings, name="b", matching=matching(tmp_path / "m.csv", RIGHT)))
    assert pooled(table)["session"].value == pooled(listed)["session"].value
    sentences = decoding_summary(read_scores(table))
    assert len(sentences) == 2
    assert re.search(r"session split\. .*Decoders were trained on one, 48 trials", sentences[1])


def test_some_cells_are_not_in_both(tmp_path):
    one, settings = saved(tmp_path)
    rows = [(a, b if a < 5 else "") for a, b in RIGHT] + [("", b) for a, b in RIGHT if a >= 5]
    found = pooled(decode(one, config=DecodeConfig(**settings, matching=matching(tmp_path / "m.csv", rows))))
    assert "5 cells are shared" in found["session"].note


@pytest.mark.parametrize(("task", "metric"), [("classify", "accuracy"), ("regress", "r2")])
def test_labels_of_the_second_session_serve_to_score_and_nothing_else(tmp_path, task, metric):
    one, two = halves(ids=True)
    asked = {key: two.stimulus[key].values for key in ("start", "stop", "image")}
    other = asked | {"image": np.random.default_rng(1).permutation(asked["image"])}
    rois = xr.Dataset({"cell": ("roi", ORDER)})
    shuffled = Recording.from_arrays(
        {"dff": two["dff"].values}, rate_hz=20.0, time=two.time, stimulus=other, session="two", rois=rois
    )
    guesses = []
    for name, second in (("true", two), ("other", shuffled)):
        path = one.save(tmp_path / name / "one.zarr")
        config = DecodeConfig(
            target="image", task=task, windows=WINDOWS, shuffles=5, on_session=second.save(tmp_path / name / "two.zarr")
        )
        table = decode(path, config=config)
        assert (pooled(table, metric)["session"].value > 0.3) == (name == "true")
        guesses.append(next(g for g in read_guesses(table.with_name("guesses.csv")) if g.split == "session"))
    np.testing.assert_array_equal(guesses[0].guessed["dff:response"], guesses[1].guessed["dff:response"])
    assert (guesses[0].true != guesses[1].true).any()


def test_conditions_that_the_first_session_lacks_are_left_out_by_name(tmp_path):
    one, two = halves(ids=True)
    events = np.flatnonzero(one.stimulus["image"].values != 2)
    table = {key: one.stimulus[key].values[events] for key in ("start", "stop", "image")}
    first = Recording.from_arrays(
        {"dff": one["dff"].values}, rate_hz=20.0, time=one.time, stimulus=table, session="one", rois=one.table("rois")
    )
    config = DecodeConfig(
        target="image", task="classify", windows=WINDOWS, shuffles=5, on_session=two.save(tmp_path / "two.zarr")
    )
    score = pooled(decode(first.save(tmp_path / "one.zarr"), config=config))["session"]
    strange = int((two.stimulus["image"].values == 2).sum())
    assert f"{strange} windows left out: one has no image 2" in score.note
    assert score.n == 48 - strange


def test_what_cannot_be_matched_is_refused_before_anything_is_written(tmp_path):
    one, settings = saved(tmp_path)

    def refused(error, message, **more):
        for ask in (check, lambda path, config: decode(path, config=config)):
            with pytest.raises(error, match=message):
                ask(one, DecodeConfig(**(settings | more)))

    refused(DataError, "Which cells of one and two are the same is not known")
    refused(DataError, "is missing", matching=tmp_path / "nothing.csv")
    refused(DataError, "is of other ROIs than 'one' has", matching=matching(tmp_path / "few.csv", RIGHT[:7]))
    apart = [(k, "") for k in range(CELLS)] + [("", k) for k in range(CELLS)]
    refused(DataError, "share no cell", matching=matching(tmp_path / "apart.csv", apart))
    (tmp_path / "named.csv").write_text("cell,monday,friday\n0,0,0\n")
    refused(DataError, "knows no session 'one'", matching=tmp_path / "named.csv")
    refused(ConfigError, "is no recording", on_session=tmp_path / "gone.zarr")
    assert not (tmp_path / "one-on-two.decode").exists()
    with pytest.raises(ValueError, match="name the other one"):
        DecodeConfig(matching=tmp_path / "m.csv")
    with pytest.raises(ValueError, match="no curves"):
        DecodeConfig(**settings, curves=("time",))


def test_in_a_notebook():
    one, two = halves(ids=True, count=48)
    windows = WINDOWS.model_dump(exclude_defaults=True)
    found = nd.decode(one, "image", on_session=two, shuffles=5, windows=windows)
    assert set(found.split) == {"blocked", "session"}
    curve = nd.decode(one, "image", curve="time", shuffles=20, windows=windows)
    assert {"start_s", "end_s", "p_corrected"} <= set(curve.columns)
    assert curve.value.max() > 0.5
