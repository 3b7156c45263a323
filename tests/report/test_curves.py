"""Curves in words and figures: what is told from chance is called found, and nothing else."""

import numpy as np
import pytest

from neurodyn.data.curves import AXES, Curve
from neurodyn.decode.curve_words import curve_facts, curve_sentence
from neurodyn.decode.run import decode
from neurodyn.decode.settings import DecodeConfig
from neurodyn.report.curves import curve_blocks
from neurodyn.report.page import report
from tests.cli.conftest import neurodyn as neurodyn
from tests.decode.sliding_trials import WINDOWS, axes_of, trials, while_on

END = np.array([-0.4, 0.0, 0.4, 0.8, 1.2])


def curve(kind, axes, value, p, **more):
    value, p = (np.asarray(each, dtype=float) for each in (value, p))
    told = {"session": "m1", "target": "image", "decoder": "lda", "split": "trial", "features": "dff"}
    bands = {"ci_low": value - 0.1, "ci_high": value + 0.1}
    null = {"shuffled_low": 0 * value + 0.1, "shuffled_high": 0 * value + 0.4}
    numbers = {"chance": 0.25, "threshold": 0.45, "n": 40, "unit": "trials", "metric": "accuracy"}
    assert set(axes) == set(AXES[kind])
    return Curve(kind=kind, axes=axes, value=value, p=p, p_corrected=p, **(told | bands | null | numbers | more))


def over_time(value, p, **more):
    return curve("time", {"start_s": END - 0.2, "end_s": END}, value, p, **more)


def test_stretches_of_time_are_told_apart_and_those_before_the_onset_are_warned_of():
    said = curve_sentence(over_time([0.2, 0.3, 0.6, 0.3, 0.5], [1, 1, 0.01, 1, 0.04]))
    assert "decodable at 0.40 s and at 1.20 s from onset" in said
    assert "best at 0.40 s with accuracy 0.60 (95 % interval 0.50 to 0.70; chance 0.250)" in said
    early = curve_sentence(over_time([0.6, 0.6, 0.6, 0.3, 0.3], [0.01, 0.01, 0.01, 1, 1]))
    assert "decodable from -0.40 to 0.40 s from onset" in early
    assert "That begins before the onset" in early
    assert "at none of 5 times" in curve_sentence(over_time(5 * [0.3], 5 * [0.051]))
    below = curve_sentence(over_time([0.2] * 5, [0.01] * 5))  # no better than knowing nothing, whatever its shuffles do
    assert "at none of 5 times" in below


def test_pairs_of_times_are_counted_without_those_that_share_frames():
    size = END.size
    p = np.ones((size, size))
    p[2:, 2:] = 0.01
    p[2, 4] = 1
    axes = {
        "train_start_s": np.repeat(END - 0.2, size), "train_end_s": np.repeat(END, size),
        "test_start_s": np.tile(END - 0.2, size), "test_end_s": np.tile(END, size),
    }  # fmt: skip
    said = curve_sentence(curve("generalise", axes, np.full(size**2, 0.6), p.ravel()))
    assert "told from chance at 8 of 25 pairs" in said
    assert "Of 6 pairs without common frames, both of times at which it could be told, 83%." in said


def test_how_many_cells_are_enough():
    axes = {"cells": np.array([1.0, 2, 4, 5]), "draws": np.array([5.0, 10, 5, 1])}
    p = [np.nan, np.nan, np.nan, 0.01]
    said = curve_sentence(curve("cells", axes, [0.3, 0.5, 0.84, 0.9], p, threshold=np.nan))
    assert "accuracy 0.30 from one cell and 0.90 from all 5 (chance 0.250). 4 random cells give 90%" in said
    rising = curve_sentence(curve("cells", axes, [0.3, 0.5, 0.6, 0.9], p, threshold=np.nan))
    assert "No smaller number tried gives 90%" in rising
    nothing = curve_sentence(curve("cells", axes, 4 * [0.26], [*p[:3], 0.4], threshold=np.nan))
    assert "Not even all cells can be told from chance" in nothing


@pytest.fixture(scope="module")
def decoded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curves")
    path = trials(while_on(axes_of(1), 0.5, 1.0), count=30).save(folder / "m1.zarr")
    config = DecodeConfig(
        target="image",
        windows=WINDOWS,
        curves=("time", "cells", "generalise"),
        shuffles=20,
        curve_draws=2,
        curve_step=0.25,
    )
    return decode(path, config=config).parent


def test_a_page_has_every_curve_with_its_words(decoded, tmp_path):
    page = report([decoded], tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("Score for image along trials", "over numbers of cells", "trained at one time and tested at another"):
        assert words in page
    for words in (
        "s from onset (ends of windows",
        "Over time: p is corrected for 8 times",
        "draws of cells",
        "Outlined: pairs",
    ):
        assert words in page


def test_curves_without_a_null_are_drawn_without_what_it_gives():
    missing = np.full(END.size, np.nan)
    alone = over_time([0.3, 0.3, 0.6, 0.5, 0.4], missing, threshold=np.nan, shuffled_low=missing, shuffled_high=missing)
    figure, items = curve_blocks([alone])
    assert "black bars" not in figure.caption
    assert "without a null" in items.items[0]


def test_the_terminal_says_what_the_report_says(decoded, neurodyn, tmp_path):
    asked = ("--target", "image", "--curves", "time,cells", "--shuffles", 20)
    windows = ("--set", "windows.align=events", "--set", "windows.offset=-0.5", "--set", "windows.duration=2")
    done = neurodyn("decode", decoded.with_suffix(".zarr"), *asked, *windows, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "image in m1, dff by lda: decodable from" in done.err
    assert "Over cells: p is that of all cells alone." in done.err
    assert {path.name for path in (tmp_path / "out").glob("curve_*")} == {"curve_time.csv", "curve_cells.csv"}
    assert curve_facts(over_time(5 * [0.3], 5 * [1.0], note="over time: x; order of conditions: y")) == [
        "Over time: x."
    ]
    unknown = neurodyn("decode", decoded.with_suffix(".zarr"), "--target", "image", "--curves", "space")
    assert unknown.code == 2 and "'time', 'cells' or 'generalise'" in unknown.err
