"""Scores survive CSV; other tables are refused."""

import math

import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.scores import Score, read_scores, write_scores

SCORE = Score(
    session='mouse, "1"',
    model="cst",
    seed=3,
    split="blocked",
    target="contrast",
    metric="R2",
    fold="all",
    value=0.1 + 0.2,
    ci_low=-1e-300,
    ci_high=float("inf"),
    null_mean=float("nan"),
    p=0.005,
    n=36,
    unit="trials",
    note="two\nlines",
)


def test_round_trip(tmp_path):
    path = write_scores(tmp_path / "deep" / "scores.csv", [SCORE, SCORE])
    first, second = read_scores(path)
    assert math.isnan(first.null_mean)
    for field in ("session", "seed", "value", "ci_low", "ci_high", "n", "note", "features"):
        assert getattr(first, field) == getattr(SCORE, field) == getattr(second, field)
    assert type(first.n) is int


def test_no_scores_is_a_table_too(tmp_path):
    assert read_scores(write_scores(tmp_path / "scores.csv", [])) == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "session,model\nx\n"])
def test_other_tables_are_refused(text, tmp_path):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(DataError, match="not a table of scores"):
        read_scores(tmp_path / "scores.csv")


def test_numbers_that_are_none_are_refused(tmp_path):
    path = write_scores(tmp_path / "scores.csv", [SCORE])
    path.write_text(path.read_text().replace("0.005", "small"))
    with pytest.raises(DataError, match="not a table of scores"):
        read_scores(path)
    path.write_text("\n".join(line[:30] for line in path.read_text().splitlines()))
    with pytest.raises(DataError, match="not a table of scores"):
        read_scores(path)


def test_a_missing_table(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        read_scores(tmp_path / "scores.csv")
