"""Models that were scored on the same hidden frames stand side by side."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from neurodyn.data.scores import Score, write_scores
from neurodyn.report.hidden import hidden_part, hidden_summary

NAN = math.nan
ROW = Score(
    model="cst", metric="hidden_frame_r2", value=0.42, ci_low=0.39, ci_high=0.45, null_mean=NAN, p=NAN, n=90,
    unit="windows", session="m1", seed=0, split="blocked:test", target="dff", fold="all",
)  # fmt: skip
LINEAR = replace(ROW, model="linear interpolation", value=0.35, ci_low=0.3, ci_high=0.4)
SPLINE = replace(ROW, model="spline", value=0.44, ci_low=0.41, ci_high=0.47)


def folder(path, *rows):
    path.mkdir()
    write_scores(path / "reconstruction.csv", list(rows))
    return path


def test_a_spline_on_the_page_stands_beside_the_models_score(tmp_path):
    spline = folder(tmp_path / "spline", SPLINE, LINEAR)
    assert hidden_summary([ROW, LINEAR], [spline]) == [
        "R² on hidden frames of held-out windows: cst 0.42 (95 % interval 0.39 to 0.45); spline 0.44 (95 % interval 0.41 "
        "to 0.47); linear interpolation 0.35 (95 % interval 0.30 to 0.40); 90 windows."
    ]


@pytest.mark.parametrize("change", [{"session": "m2"}, {"n": 80}, {"target": "spikes"}, {"split": "trial:test"}])
def test_other_windows_are_not_set_beside(tmp_path, change):
    other = folder(tmp_path / "spline", replace(SPLINE, **change))
    assert "spline" not in hidden_summary([ROW, LINEAR], [other])[0]
    assert hidden_part([folder(tmp_path / "cst", ROW, LINEAR), other]) is None


def test_side_by_side_the_best_comes_first_and_interpolation_once(tmp_path):
    part = hidden_part([folder(tmp_path / "cst", ROW, LINEAR), folder(tmp_path / "spline", SPLINE, LINEAR)])
    assert part is not None
    figure, table = part.sections[0].blocks
    assert figure.kind == "figure"
    assert [row[0] for row in table.rows] == ["spline", "cst", "linear interpolation"]
    assert [row[2] for row in table.rows] == ["0.440", "0.420", "0.350"]


def test_one_model_needs_no_comparison(tmp_path):
    assert hidden_part([folder(tmp_path / "cst", ROW, LINEAR)]) is None
    assert hidden_summary([], []) == []
