"""Scores against ground truth are shown as such, not as decoding."""

from __future__ import annotations

import re
from dataclasses import replace

from neurodyn.core.files import write_json
from neurodyn.data.scores import Score, write_scores
from neurodyn.evaluate.latents import Latents
from neurodyn.evaluate.rotations import Rotations
from neurodyn.report.evaluation import evaluation_part, evaluation_section, evaluation_summary, runs_section
from neurodyn.report.page import report


def score(session: str, features: str, value: float, metric: str = "r at 25 Hz", n: int = 4) -> Score:
    return Score(
        session=session,
        model="none",
        seed=0,
        split="recorded",
        target="spikes",
        metric=metric,
        fold="all",
        value=value,
        ci_low=value - 0.1,
        ci_high=value + 0.1,
        null_mean=float("nan"),
        p=float("nan"),
        n=n,
        unit="cells",
        features=features,
    )


SCORES = [
    score("A", "spikes", 0.5),
    score("A", "dff", 0.2),
    score("A", "spikes minus dff", 0.3),
    score("every dataset", "spikes", 0.6, n=9),
    score("every dataset", "dff", 0.25, n=9),
]


def test_a_row_per_dataset_and_a_column_per_feature():
    table = evaluation_section(SCORES).blocks[1]
    assert list(table.header) == ["Dataset", "spikes", "dff", "spikes minus dff", "n"]
    assert table.rows[0] == ["A", "0.500 [0.40, 0.60]", "0.200 [0.10, 0.30]", "0.300 [0.20, 0.40]", "4 cells"]
    assert table.rows[1][3] == "–"


def test_the_summary_speaks_of_all_datasets_together():
    (sentence,) = evaluation_summary(SCORES)
    assert sentence == "R at 25 Hz in every dataset (9 cells): spikes 0.60 [0.50, 0.70]; dff 0.25 [0.15, 0.35]."


def test_the_page_names_ground_truth_and_no_decoding(tmp_path):
    write_scores(tmp_path / "scores.csv", SCORES)
    write_json(tmp_path / "evaluate.json", {"recordings": ["a.zarr"], "config": {"slow_hz": 7.5}, "version": "0"})
    text = report([tmp_path], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Against ground truth" in text
    assert "<summary>Configuration</summary>" in text
    assert "<td>slow_hz</td><td>7.5</td>" in text
    assert not re.search(r"Decoding|test folds|split", re.sub(r"<style.*?</style>", "", text, flags=re.S))


def test_scores_of_an_evaluation_that_is_not_installed_are_shown_plainly():
    record = {"metric": "of another package", "recordings": ["a.zarr"], "sources": []}
    part = evaluation_part("scores", [replace(row, split="blocked:test") for row in SCORES], record)
    assert [block.kind for block in part.sections[0].blocks] == ["figure", "table"]


def test_runs_have_a_row_each_and_what_all_share_is_said_once():
    rows = [
        replace(score("lorenz-0", "latents", value, metric), model="calfads", seed=seed, split=f"column:{part}")
        for seed in (0, 1)
        for part in ("valid", "test")
        for metric, value in (("latents_r2", 0.9), ("latents_r2_dim1", 0.8), ("rates_r2", 0.7))
    ]
    figure, whole, single = runs_section(rows, Latents).blocks
    assert figure.kind == "figure"
    assert list(whole.header) == ["Seed", "Part", "n", "Latents", "Rates"]
    assert whole.rows[3] == ["1", "test", "4 cells", "0.900 [0.80, 1.00]", "0.700 [0.60, 0.80]"]
    assert "session lorenz-0, model calfads" in whole.caption
    assert list(single.header) == ["Seed", "Part", "n", "Latent 1"]


def test_analyses_of_several_signals_have_a_row_for_each():
    rows = [replace(score("r", name, 0.5, "jpca_r2_skew"), split="column:valid") for name in ("rates", "latents")]
    table = runs_section(rows, Rotations).blocks[1]
    assert [row[0] for row in table.rows] == ["rates", "latents"]
    assert table.rows[0][-1] == "0.50 [0.40, 0.60]"
