"""The page of imputation scores."""

from dataclasses import replace

from neurodyn.core.files import write_json
from neurodyn.data.scores import Score, write_scores
from neurodyn.report.imputation import imputation_part
from neurodyn.report.page import report

NAN = float("nan")
ROW = Score(
    session="s",
    model="m",
    seed=0,
    split="blocked:test",
    target="dff, blocks",
    metric="imputation_r2",
    value=0.5,
    ci_low=0.4,
    ci_high=0.6,
    n=30,
    unit="windows",
)
SETTINGS = {"hide": "blocks", "share": 0.2, "seconds": 0.5, "size": [8, 8], "seed": 0}


def scores() -> list[Score]:
    rows = [ROW, replace(ROW, seed=1, value=0.7), replace(ROW, model="linear", value=-0.1)]
    rows += [replace(ROW, metric="coverage_90", value=0.91), replace(ROW, metric="imputation_mse", fold="1.0 s")]
    return rows + [replace(ROW, metric="rank_histogram", fold=f"rank {k}", value=1 / 9) for k in range(9)]


def test_models_are_summed_up_over_seeds_and_the_best_comes_first():
    part = imputation_part("scores", scores(), SETTINGS)
    assert part.summary == ["R² of hidden entries: m 0.600 (0.500 to 0.700 over 2 seeds); linear −0.100."]
    _, table, ranks = part.sections[0].blocks
    assert table.header == ["Model", "Seed", "R²", "90 % covers"]
    assert table.rows[0] == ["m", "0", "0.500 [0.400, 0.600]", "0.910"]
    assert table.rows[2][-1] == "–"
    assert "Rank" in ranks.alt
    assert "20% of the blocks of 0.5 s and 8 × 8 pixels" in part.methods[0].text


def test_it_is_the_page_of_such_an_evaluation(tmp_path):
    write_scores(tmp_path / "scores.csv", scores())
    record = {
        "metric": "imputation",
        "recordings": ["a"],
        "sources": [],
        "config": SETTINGS | {"hide": "channel", "seconds": None},
    }
    write_json(tmp_path / "evaluate.json", record)
    text = report([tmp_path], tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Hidden entries filled in" in text
    assert "the signal throughout, the others being seen" in text
