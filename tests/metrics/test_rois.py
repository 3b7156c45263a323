"""Matching of regions against hand-made layouts and an exhaustive search."""

import itertools

import numpy as np
import pytest

from neurodyn.metrics.rois import detection_scores, match_centres, overlap_scores


def exhaustive(found, marked, distance):
    """Most pairs, and of those the smallest sum of distances, by trying every assignment."""
    apart = np.linalg.norm(found[:, None] - marked[None], axis=2)
    padded = np.full((len(found), len(marked) + len(found)), np.nan)
    padded[:, : len(marked)] = np.where(apart <= distance, apart, np.nan)
    tries = itertools.permutations(range(padded.shape[1]), len(found))
    taken = (padded[range(len(found)), list(columns)] for columns in tries)
    return min((-np.isfinite(row).sum(), np.nansum(row)) for row in taken)


@pytest.mark.parametrize("seed", range(8))
def test_as_many_pairs_as_an_exhaustive_search_and_as_near(seed):
    rng = np.random.default_rng(seed)
    found, marked = rng.uniform(0, 14, (4, 2)), rng.uniform(0, 14, (3, 2))
    pairs = match_centres(found, marked, 5.0)
    near = np.linalg.norm(found[pairs[:, 0]] - marked[pairs[:, 1]], axis=1)
    count, total = exhaustive(found, marked, 5.0)
    assert len(pairs) == -count
    assert near.sum() == pytest.approx(total)
    assert all(len(set(column)) == len(pairs) for column in pairs.T)


def test_the_nearest_does_not_take_the_only_partner_of_another():
    found = np.array([[0.0, 0.0], [0.0, 6.0]])
    marked = np.array([[0.0, 2.0], [0.0, -4.0]])  # the first found is nearest to both; the second reaches one only
    np.testing.assert_array_equal(match_centres(found, marked), [[0, 1], [1, 0]])


def test_a_distance_of_exactly_five_pixels_matches_and_more_does_not():
    marked = np.array([[10.0, 10.0]])
    assert len(match_centres(np.array([[13.0, 14.0]]), marked)) == 1
    assert len(match_centres(np.array([[13.0, 14.1]]), marked)) == 0


def test_recall_precision_and_f1_by_hand():
    pairs = np.array([[0, 3], [2, 1], [3, 0]])
    scores = detection_scores(4, 6, pairs)
    assert scores["recall"].value == pytest.approx(3 / 6)
    assert scores["precision"].value == pytest.approx(3 / 4)
    assert scores["f1"].value == pytest.approx(2 * 3 / (4 + 6))
    assert scores["f1"].value == pytest.approx(2 / (1 / 0.5 + 1 / 0.75))
    assert [scores[name].n for name in ("recall", "precision", "f1")] == [6, 4, 10]


def test_the_interval_is_that_of_a_share():
    scores = detection_scores(200, 400, np.stack([np.arange(100), np.arange(100)], axis=1))
    recall = scores["recall"]
    error = np.sqrt(0.25 * 0.75 / 400)
    assert recall.ci_low == pytest.approx(0.25 - 1.96 * error, abs=0.006)
    assert recall.ci_high == pytest.approx(0.25 + 1.96 * error, abs=0.006)


def test_nothing_found_has_no_precision_and_no_recall():
    pairs = match_centres(np.zeros((0, 2)), np.array([[1.0, 1.0], [9.0, 9.0]]))
    scores = detection_scores(0, 2, pairs)
    assert scores["recall"].value == 0
    assert scores["f1"].value == 0
    assert np.isnan(scores["precision"].value)


def test_inclusion_and_exclusion_of_shifted_squares():
    y, x = np.mgrid[:4, :4].reshape(2, -1)
    square = np.stack([y, x], axis=1)
    half = square[:8] + [2, 0]  # 2 × 4 pixels, all inside the square
    scores = overlap_scores([half, square], [square + [0, 1], square], np.array([[0, 1], [1, 0]]))
    assert scores["inclusion"].value == pytest.approx((8 / 16 + 12 / 16) / 2)
    assert scores["exclusion"].value == pytest.approx((8 / 8 + 12 / 16) / 2)
