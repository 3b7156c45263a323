"""Divisions keep trials whole, blocks apart, and say when they cannot."""

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.decode.settings import Protocol, paper_protocols
from neurodyn.decode.splits import inner_folds, make_folds, order_groups

GROUPS = np.repeat(np.arange(20), 7)


@pytest.mark.parametrize("split", ["trial", "blocked", "random"])
def test_every_sample_is_tested_once_and_never_trained_on(split):
    folds = make_folds(GROUPS, Protocol(split=split))
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(GROUPS.size))
    for fold in folds:
        assert not np.intersect1d(fold.train, fold.test).size
        shared = np.intersect1d(GROUPS[fold.train], GROUPS[fold.test]).size
        assert shared > 0 if split == "random" else shared == 0


def test_blocks_are_contiguous_with_a_gap_on_both_sides():
    for fold in make_folds(GROUPS, Protocol(split="blocked", gap=2)):
        tested = np.unique(GROUPS[fold.test])
        assert np.array_equal(tested, np.arange(tested[0], tested[-1] + 1))
        distance = np.abs(np.unique(GROUPS[fold.train])[:, None] - tested).min()
        assert distance == 3


def test_trials_are_shuffled_by_the_seed():
    tested = [make_folds(GROUPS, Protocol(split="trial", seed=seed))[0].test for seed in (0, 0, 1)]
    assert np.array_equal(tested[0], tested[1])
    assert not np.array_equal(tested[0], tested[2])


def test_paper_protocol_tests_30_percent_ten_times():
    for protocol in paper_protocols():
        folds = make_folds(GROUPS, protocol)
        assert len(folds) == 10
        assert all(fold.test.size == 42 for fold in folds)
    assert {tuple(GROUPS[fold.test]) for fold in folds}.__len__() > 5


def test_groups_are_numbered_in_time():
    groups = np.array(["b", "b", "a", "c"])
    assert order_groups(groups, np.array([5.0, 6.0, 7.0, 1.0])).tolist() == [1, 1, 2, 0]


def test_inner_folds_keep_trials_whole():
    for train, test in inner_folds(GROUPS, 4, 0):
        assert not np.intersect1d(GROUPS[train], GROUPS[test]).size


def test_fewer_trials_than_folds():
    with pytest.raises(DataError, match="too few trials for"):
        make_folds(np.repeat(np.arange(4), 3), Protocol(folds=5))
    with pytest.raises(DataError, match="too few trials for"):
        make_folds(np.repeat(np.arange(5), 3), Protocol(folds=5, gap=3))
