"""Null labels follow the order of the true ones; nothing is found in drift, and what is there is."""

import logging

import numpy as np
import pytest

from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.settings import Protocol
from neurodyn.metrics.nulls import UNTOLD, best_of_rows, facts, make_null
from neurodyn.metrics.order import follows_time, order_p
from neurodyn.report.decoding import decoding_summary
from tests.decode.ordered import decoded, found, labelled, recorded


def null(target, task="regress", *, course=False, shuffles=40, groups=None):
    groups = np.arange(len(target)) if groups is None else groups
    return make_null(
        np.asarray(target), groups, np.arange(len(target)) * 1.0, task, course=course, shuffles=shuffles, seed=0
    )


def test_trials_in_random_order_are_permuted_whole():
    order = np.random.default_rng(1).permutation(30)
    made = null(np.repeat(order * 10.0, 5) + np.tile(np.arange(5), 30), groups=np.repeat(np.arange(30), 5))
    assert made.order.startswith("random (test of neighbours, p 0.")
    assert made.words == "40 permutations of trials"
    columns = made.columns.T.reshape(40, 30, 5)
    assert (columns % 10 == np.arange(5)).all()
    assert (np.sort(columns[:, :, 0] // 10, axis=1) == np.arange(30)).all()
    assert len({tuple(column[:, 0]) for column in columns}) == 40


def test_trials_of_other_lengths_are_stretched():
    groups = np.array([0, 0, 1, 1, 1, 1])
    made = null([1.0, 2, 3, 4, 5, 6], groups=groups)
    assert {tuple(column) for column in made.columns.T} == {(1, 2, 3, 4, 5, 6), (4, 6, 1, 1, 2, 2)}


def test_blocks_are_permuted_whole():
    made = null(np.repeat([2, 0, 3, 1, 0, 2, 1, 3], 5), "classify")
    assert "in blocks" in made.order
    assert made.words == "40 permutations of 8 blocks, no p below 0.024"
    blocks = made.columns.T.reshape(40, 8, 5)
    assert (blocks == blocks[:, :, :1]).all()
    assert (np.sort(blocks[:, :, 0], axis=1) == np.repeat(np.arange(4), 2)).all()


def test_blocks_of_one_length_stay_apart_where_neighbours_are_alike():
    made = null(np.repeat([0, 0, 1, 0, 1, 1, 0, 1], 5), "classify")
    assert "permutations of 8 blocks" in made.words


def test_courses_are_shifted_but_for_the_line_between_their_ends():
    course = np.sin(np.arange(200) / 7) + np.arange(200) / 50
    made = null(course, course=True, shuffles=199)
    assert made.words == "199 shifts of the labels along the recording, no p below 0.005"
    ends = course[:5].mean(), course[-5:].mean()
    line = np.linspace(*ends, 200)
    for step, column in enumerate(made.columns.T, start=1):
        np.testing.assert_allclose(column - line, np.roll(course - line, step), atol=1e-9)


def test_a_heading_is_shifted_without_a_seam():
    heading = np.cumsum(np.random.default_rng(0).normal(0, 0.2, 300))
    made = null(np.mod(heading, 2 * np.pi), "circular", course=True)
    steps = np.abs(np.angle(np.exp(1j * np.diff(made.columns, axis=0))))
    assert steps.max() < 1.2  # no turn larger than the course's own, give or take the line
    assert made.columns.min() >= 0 and made.columns.max() < 2 * np.pi


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_sorted_conditions_have_no_null_and_it_is_said(task, caplog):
    labels = labelled("sorted", task, np.random.default_rng(0))
    with caplog.at_level(logging.WARNING):
        score = decoded(recorded(labels, "line", np.random.default_rng(0)), labels)
    assert np.isnan(score.p) and np.isnan(score.null_mean)
    assert "conditions follow time" in caplog.text and UNTOLD in caplog.text
    assert UNTOLD in score.note
    (sentence,) = decoding_summary([score])
    assert "was decoded" not in sentence
    assert "this score cannot tell a response from drift" in sentence


def test_conditions_that_come_round_in_one_order_are_drawn_anew_in_each_round():
    directions = np.tile(np.arange(0, 2 * np.pi, np.pi / 4), 5)
    made = null(directions, "circular")
    assert made.order.endswith("the same 8 conditions round and round")
    assert made.words == "40 permutations of trials within each round"
    rounds = made.columns.T.reshape(40, 5, 8)
    np.testing.assert_allclose(np.sort(rounds, axis=2), np.broadcast_to(directions[:8], rounds.shape))
    assert len({tuple(column) for column in made.columns.T}) == 40
    assert null(directions, "circular", shuffles=0).columns.shape == (40, 0)


def test_too_few_blocks_have_no_null():
    made = null(np.repeat([0, 1, 0, 1], 10), "classify")
    assert made.columns.shape == (40, 0)
    assert "in 4 blocks, too few for a null" in made.order


def test_the_test_of_order_and_of_time():
    rng = np.random.default_rng(0)
    p = [order_p(rng.permutation(np.repeat(np.arange(4), 10)), "classify", rng) for _ in range(100)]
    assert np.mean(np.array(p) <= 0.05) < 0.12
    assert order_p(np.repeat(rng.permutation(8), 5), "classify", rng) < 0.01
    for kind, values in (("classify", np.array([1, 1, 0, 0])), ("regress", np.arange(9.0)[::-1])):
        assert follows_time(values, kind) == pytest.approx(1)
    assert follows_time(np.tile([0, 1], 20), "classify") < 0.1


def test_every_score_says_order_null_interval_and_unit():
    labels = labelled("blocks", "regress", np.random.default_rng(0))
    told = list(facts(decoded(recorded(labels, "walk", np.random.default_rng(0)), labels).note))
    assert [one.partition(":")[0] for one in told] == ["Order of conditions", "Null", "Interval", "Unit"]
    assert told[0].startswith("Order of conditions: not random") and told[3].startswith(
        "Unit: trials, of which each counts once"
    )


def test_no_shuffles_are_no_null():
    labels = labelled("random", "regress", np.random.default_rng(0))
    score = decoded(recorded(labels, "walk", np.random.default_rng(0)), labels, shuffles=0)
    assert "Null: none, no shuffles were asked for." in facts(score.note)
    assert np.isnan(score.p)


def test_p_of_rows_is_that_of_the_best_of_them():
    columns = np.random.default_rng(0).normal(size=(400, 3, 100))
    p = np.array([best_of_rows(one).min() for one in columns])
    assert 0.02 < np.mean(p <= 0.05) < 0.09  # of the best of three; .14 without
    assert best_of_rows(np.array([np.r_[9.0, np.zeros(19)], np.arange(20.0)])).tolist() == [0.1, 1.0]


def test_a_best_row_is_told_as_one_of_several():
    rng = np.random.default_rng(0)
    labels = Labels(rng.normal(size=40), np.arange(40), np.arange(40.0), "regress")
    features = {name: rng.normal(size=(40, 3)) for name in "ab"}
    rows = [s for s in evaluate(features, labels, protocol=Protocol(shuffles=19)) if s.fold == "all"]
    assert all("of 2 rows p " in s.note for s in rows)


@pytest.mark.parametrize(("order", "kind"), [("blocks", "waves"), ("behaviour", "shared")])
def test_nothing_is_found_in_drift(order, kind):
    p = found(order, "regress", kind, range(24))
    assert np.mean(p <= 0.05) <= 0.13  # 4 or more of 24 at 5 %: 3 in 100
    assert np.mean(p == p) > 0.9


@pytest.mark.parametrize("order", ["random", "blocks", "behaviour"])
def test_a_response_is_found_in_every_order(order):
    p = found(order, "regress", "walk", range(20), gain=1.0, drifting=0.5)
    assert np.mean(p <= 0.05) > 0.6


def test_detrended_features_find_a_response_below_drift():
    better = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        labels = labelled("random", "regress", rng)
        features = recorded(labels, "walk", rng, gain=0.5, drifting=3.0)
        better.append(
            decoded(features, labels, detrend=True, shuffles=0).value - decoded(features, labels, shuffles=0).value
        )
    assert np.median(better) > 0.1
