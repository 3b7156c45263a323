"""Rows computed apart are the rows computed together."""

import numpy as np

from neurodyn.preprocess import threads
from neurodyn.preprocess.baselines import maximin


def test_any_number_of_processors_gives_the_same_rows(monkeypatch):
    traces = np.random.default_rng(0).normal(size=(45, 300))
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "processors", lambda count=count: count)
        found.append(maximin(traces, 31, 2.0))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_rows_are_really_shared_out(monkeypatch):
    monkeypatch.setattr(threads, "processors", lambda: 3)
    sizes = []

    def work(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        return rows

    rows = np.arange(60).reshape(30, 2)
    np.testing.assert_array_equal(threads.by_rows(work, rows), rows)
    assert sorted(sizes) == [10, 10, 10]
