"""Models over seeds: means, standard errors and paired tests equal scipy's; published figures stand beside them."""

import csv
import html

import numpy as np
import pytest
from scipy.stats import false_discovery_control, sem, wilcoxon

from neurodyn.core.config import list_presets
from neurodyn.core.errors import ConfigError
from neurodyn.core.files import write_json
from neurodyn.data.scores import Score, write_scores
from neurodyn.metrics.paired import PAIRED_TEST
from neurodyn.report.blocks import p_value
from neurodyn.report.compare import compare
from neurodyn.report.comparison import Published, comparison_part
from neurodyn.report.page import report

NAN = float("nan")
LINEAR = "lorenz, linear calcium"
RNG = np.random.default_rng(0)
OURS = {"calfads": RNG.normal(0.96, 0.01, 5), "oasis-lfads": RNG.normal(0.9, 0.02, 5)}


def row(session, model, seed, metric, part, value):
    return Score(
        session=session,
        model=model,
        seed=seed,
        split=f"column:{part}",
        target="latents",
        metric=metric,
        fold="all",
        value=value,
        ci_low=value - 0.01,
        ci_high=value + 0.01,
        null_mean=NAN,
        p=NAN,
        n=260,
        unit="trials",
        features="latents",
    )


def scored(folder, models, sessions=None):
    """Write scores of runs, one session per seed, and what they are draws of."""
    rows, sources = [], []
    for model in models:
        for seed, value in enumerate(OURS[model]):
            session = f"lorenz-linear-{seed}"
            rows += [
                row(session, model, seed, "latents_r2", part, value - d) for part, d in (("valid", 0), ("test", 1))
            ]
            rows.append(row(session, model, seed, "latents_r2_dim1", "valid", value - 0.1))
            sources.append({"session": session, "dataset": LINEAR, "model": model, "seed": seed, "path": "run"})
    write_scores(folder / "scores.csv", rows)
    record = {"metric": "latents", "sources": sources, "recordings": ["a.zarr"], "config": {}, "version": "0"}
    write_json(folder / "evaluate.json", record)
    return folder


@pytest.fixture
def folders(tmp_path):
    return [scored(tmp_path / name, [name]) for name in ("oasis-lfads", "calfads")]


def shown(value):
    return f"{value:.3f}"


def test_means_errors_and_published_figures_stand_in_the_published_order(folders):
    part = comparison_part(folders, "calfads-table1")
    table = part.sections[0].blocks[0]
    assert [r[1] for r in table.rows] == ["OASIS + LFADS", "published", "CaLFADS", "published"]
    ours = OURS["calfads"]
    assert table.rows[2][:3] == ["Linear calcium", "CaLFADS", "5"]
    assert table.rows[2][3] == f"{shown(ours.mean())} ± {shown(sem(ours))}"
    assert table.rows[3][2:4] == ["15", "0.965 ± 0.001"]
    assert "Table 1" in table.notes[0]
    assert [section.title for section in part.sections] == [
        "New trials of the conditions trained on",
        "Held-out conditions",
        "Paired tests",
    ]


def test_published_figures_are_not_set_beside_other_parts(folders):
    held_out = comparison_part(folders, "calfads-table1").sections[1].blocks[0]
    assert [r[1] for r in held_out.rows] == ["OASIS + LFADS", "CaLFADS"]


def test_paired_tests_equal_scipys(folders):
    tests = comparison_part(folders, "calfads-table1").sections[2].blocks[0]
    p = wilcoxon(OURS["calfads"] - OURS["oasis-lfads"]).pvalue
    assert tests.header[3] == "CaLFADS minus"
    assert tests.rows[0][:4] == [
        "Linear calcium",
        "new trials of the conditions trained on",
        "Latents",
        "OASIS + LFADS",
    ]
    assert tests.rows[0][5:] == ["5", p_value(p)]
    assert PAIRED_TEST in tests.caption
    assert len(tests.rows) == 2


def test_report_and_compare_give_one_p(tmp_path):
    rng = np.random.default_rng(4)
    draws = {"one": rng.normal(0.5, 0.1, 8)}
    draws |= {"two": draws["one"] + rng.normal(0.1, 0.1, 8), "three": draws["one"] + rng.normal(0.02, 0.1, 8)}
    folders = []
    for model, values in draws.items():
        folder = tmp_path / model
        rows = [row("s", model, seed, "latents_r2", "test", value) for seed, value in enumerate(values)]
        write_scores(folder / "scores.csv", rows)
        sources = [{"session": "s", "dataset": "d", "model": model, "seed": seed, "path": "run"} for seed in range(8)]
        write_json(folder / "evaluate.json", {"metric": "latents", "sources": sources, "recordings": [], "config": {}})
        folders.append(folder)
    compare(folders, tmp_path / "out", against="one")
    with (tmp_path / "out/comparison.csv").open(newline="") as handle:
        compared = {found["model"]: found for found in csv.DictReader(handle)}
    raw = [wilcoxon(draws[name] - draws["one"]).pvalue for name in ("two", "three")]
    expected = false_discovery_control(raw, method="by")
    page = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    part = comparison_part(folders, None)
    tests = part.sections[-1].blocks[0]
    assert PAIRED_TEST in tests.caption
    assert PAIRED_TEST in html.unescape(page)
    assert [found[3] for found in tests.rows] == ["two", "three"]
    for found, p in zip(tests.rows, expected, strict=True):
        assert float(compared[found[3]]["p_adjusted"]) == pytest.approx(p)
        assert found[6] == p_value(p)


def test_without_published_figures_the_first_model_is_tested_against(folders):
    part = comparison_part(folders, None)
    assert part.sections[2].blocks[0].header[3] == "oasis-lfads minus"
    assert not part.references
    assert "calfads" in part.summary[0]


def test_one_seed_has_no_error_and_no_test(tmp_path):
    folder = tmp_path / "one"
    write_scores(folder / "scores.csv", [row("s", "calfads", 0, "latents_r2", "valid", 0.5)])
    source = {"session": "s", "dataset": "d", "model": "calfads", "seed": 0, "path": "run"}
    write_json(folder / "evaluate.json", {"metric": "latents", "sources": [source], "recordings": [], "config": {}})
    part = comparison_part([folder], None)
    assert part.sections[0].blocks[0].rows == [["d", "calfads", "1", "0.500"]]
    assert len(part.sections) == 1


def test_published_figures_need_scores_to_stand_beside(tmp_path):
    with pytest.raises(ConfigError, match="nothing to set beside"):
        comparison_part([tmp_path], "calfads-table1")


def test_the_page_has_the_comparison_before_the_runs(folders, tmp_path):
    page = report(folders, tmp_path / "report.html", "calfads-table1")
    text = page.read_text(encoding="utf-8")
    assert text.index("Models side by side") < text.index("Run by run")
    assert "Prince, Bakhtiari" in text
    assert page.read_bytes() == report(folders, tmp_path / "again.html", "calfads-table1").read_bytes()


@pytest.mark.parametrize("name", sorted(list_presets("published")))
def test_every_packaged_table_is_readable_and_names_only_its_own(name):
    from neurodyn.report.comparison import read_published

    table = read_published(name)
    assert isinstance(table, Published)
    assert set(table.values) <= set(table.datasets)
    assert {model for models in table.values.values() for model in models} <= set(table.models)
    assert table.against in table.models
