"""The page on inferred spikes: every cell by its noise beside the tables."""

from dataclasses import replace

from neurodyn.evaluate.spikes import BIAS, NOISE
from neurodyn.report.spikes import noise_section, spikes_part
from tests.report.test_evaluation import score


def cells(metric: str, feature: str, first: float) -> list:
    return [replace(score("A", feature, first + 0.1 * k, metric), fold=f"a:{k}", n=1) for k in range(5)]


ROWS = [
    *cells("r at 25 Hz", "spikes", 0.3),
    *cells("r at 25 Hz", "dff", 0.1),
    *cells(BIAS, "spikes", -1.0),
    *cells(NOISE, "dff", 0.5),
    score("A", "spikes", 0.5),
]


def test_scores_and_bias_are_drawn_over_the_noise():
    section = noise_section(ROWS)
    assert section is not None
    (figure,) = section.blocks
    assert "noise level" in figure.alt
    assert noise_section([row for row in ROWS if row.metric != NOISE]) is None


def test_the_part_counts_cells_and_keeps_noise_out_of_the_tables():
    part = spikes_part("spikes", ROWS, {})
    assert [section.title for section in part.sections][:2] == ["Against ground truth", "By noise level"]
    assert part.methods[0].startswith("5 cells")
