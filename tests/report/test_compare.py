"""Models side by side: means over units, paired tests as scipy has them, and what cannot be compared."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import wilcoxon

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.scores import Score, write_scores
from neurodyn.metrics.paired import correlated_mean_test
from neurodyn.report.compare import compare

NAN = float("nan")
RNG = np.random.default_rng(0)
CURVES = 40
TRUTH = RNG.gamma(2.0, 0.02, CURVES)
ERRORS = {
    name: TRUTH + shift + 0.005 * RNG.standard_normal((2, CURVES)) for name, shift in (("one", 0.0), ("two", 0.01))
}


def row(model, seed, fold, value, metric="l2_error", session="s"):
    return Score(
        session=session, model=model, seed=seed, split="column:test", target="interpolation", metric=metric, fold=fold,
        value=value, ci_low=NAN, ci_high=NAN, null_mean=NAN, p=NAN, n=1, unit="trials",
    )  # fmt: skip


def table(folder, model, metric="l2_error"):
    rows = []
    for seed, values in enumerate(ERRORS[model]):
        rows += [row(model, seed, str(k), value, metric) for k, value in enumerate(values)]
        rows.append(row(model, seed, "all", values.mean(), metric))
    folder.mkdir(parents=True)
    return write_scores(folder / "scores.csv", rows).parent


def answers(folder):
    with (folder / "comparison.csv").open(newline="") as handle:
        return {row["model"]: row for row in csv.DictReader(handle)}


def test_units_are_blocks_of_neighbours_averaged_over_seeds(tmp_path):
    folders = [table(tmp_path / name, name) for name in ERRORS]
    page = compare(folders, tmp_path / "out", against="one")
    found = answers(tmp_path / "out")
    one, two = (ERRORS[name].mean(0) for name in ("one", "two"))
    blocks = (two - one).reshape(20, 2).mean(1)
    assert float(found["two"]["mean"]) == pytest.approx(two.mean())
    assert (found["two"]["units"], found["two"]["unit"], found["two"]["seeds"]) == ("20", "blocks", "2")
    assert float(found["two"]["difference"]) == pytest.approx((two - one).mean())
    assert float(found["two"]["p"]) == pytest.approx(correlated_mean_test(two - one).p)
    assert float(found["two"]["share_better"]) == pytest.approx((blocks < 0).mean())
    assert float(found["two"]["difference_low"]) < (two - one).mean() < float(found["two"]["difference_high"])
    assert found["two"]["note"].startswith("units are 20 blocks of 2 neighbouring windows or trials of one session")
    assert found["one"]["p"] == ""
    assert "best one" in page.read_text()
    assert "Units are 20 blocks of 2 neighbouring windows" in page.read_text()


def test_more_is_better_where_the_metric_is_no_error(tmp_path):
    folders = [table(tmp_path / name, name, metric="r2") for name in ERRORS]
    compare(folders, tmp_path / "out", against="one")
    one, two = (ERRORS[name].mean(0).reshape(20, 2).mean(1) for name in ("one", "two"))
    assert float(answers(tmp_path / "out")["two"]["share_better"]) == pytest.approx((two > one).mean())


def test_windows_are_blocked_in_order_of_time(tmp_path):
    rows = []
    for name, values in ERRORS.items():
        rows += [row(name, 0, f"{k * 2.5:.3f} s", value) for k, value in enumerate(values[0])]
    compare([write_scores(tmp_path / "scores.csv", rows[::-1])], tmp_path / "out", against="one")
    assert float(answers(tmp_path / "out")["two"]["p"]) == pytest.approx(
        correlated_mean_test(ERRORS["two"][0] - ERRORS["one"][0]).p
    )


def test_folds_of_a_cross_validation_are_no_units(tmp_path):
    rows = [row(name, 0, f"0.{k}", value, "r2") for name in ERRORS for k, value in enumerate(ERRORS[name][0][:10])]
    rows += [row(name, 0, "all", ERRORS[name][0][:10].mean(), "r2") for name in ERRORS]
    page = compare([write_scores(tmp_path / "scores.csv", rows)], tmp_path / "out", against="one")
    found = answers(tmp_path / "out")["two"]
    assert (found["units"], found["p"], found["difference_low"]) == ("1", "nan", "nan")
    assert "its folds share their training data" in found["note"]
    assert "its folds share their training data" in page.read_text()


def test_too_few_independent_blocks_are_not_tested(tmp_path):
    slow = np.repeat([0.0, 1.0], 50)
    rows = [row("one", 0, str(k), 0.0) for k in range(100)] + [row("two", 0, str(k), v) for k, v in enumerate(slow)]
    compare([write_scores(tmp_path / "scores.csv", rows)], tmp_path / "out")
    found = answers(tmp_path / "out")["two"]
    assert (found["p"], found["difference_low"]) == ("nan", "nan")
    assert "fewer than 8, so there is no interval and no p" in found["note"]


def test_tables_without_folds_are_paired_by_seed(tmp_path):
    rows = [row(name, seed, "all", value) for name in ERRORS for seed, value in enumerate(ERRORS[name].mean(1))]
    compare([write_scores(tmp_path / "scores.csv", rows)], tmp_path / "out")
    found = answers(tmp_path / "out")["two"]
    assert (found["units"], found["unit"]) == ("2", "trainings")
    assert "says nothing of other sessions" in found["note"]


def test_many_tests_are_corrected(tmp_path):
    rows = [row(f"m{m}", 0, str(k), TRUTH[k] + 0.002 * RNG.standard_normal()) for m in range(6) for k in range(CURVES)]
    compare([write_scores(tmp_path / "scores.csv", rows)], tmp_path / "out")
    found = [r for r in answers(tmp_path / "out").values() if r["p"]]
    assert len(found) == 5
    assert all(float(r["p_adjusted"]) > float(r["p"]) for r in found)


def test_what_cannot_be_compared_is_named(tmp_path):
    alone = table(tmp_path / "one", "one")
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare([alone], tmp_path / "out")
    with pytest.raises(ConfigError, match="thre"):
        compare([alone, table(tmp_path / "two", "two")], tmp_path / "out", against="thre")
    with pytest.raises(DataError, match="no table of scores"):
        compare([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out" / "comparison.html").exists()


def test_signals_that_stand_beside_every_model_are_one_row(tmp_path):
    rows = []
    for model, shift in (("one", 0.0), ("two", 0.1)):
        for fold in range(5):
            rows.append(replace(row(model, 0, str(fold), TRUTH[fold]), features="dff:last"))
            rows.append(replace(row(model, 0, str(fold), TRUTH[fold] + 0.05 + shift), features="latents:last"))
    compare([write_scores(tmp_path / "scores.csv", rows)], tmp_path / "out")
    assert list(answers(tmp_path / "out")) == ["dff:last", "one · latents:last", "two · latents:last"]


def told(folder, rows, **asked):
    return compare([write_scores(folder / "scores.csv", rows)], folder / "out", **asked).read_text()


def test_best_is_said_only_where_the_interval_says_so(tmp_path):
    noise = 0.002 * np.random.default_rng(1).standard_normal((2, CURVES))
    rows = [row("far", 0, str(k), TRUTH[k] + 0.05) for k in range(CURVES)]
    rows += [row(name, 0, str(k), TRUTH[k] + noise[n, k]) for n, name in enumerate(("a", "b")) for k in range(CURVES)]
    lead, second = sorted(("a", "b"), key=lambda name: noise["ab".index(name)].mean())
    assert f"first {lead} 0.0" in (text := told(tmp_path / "tie", rows)) and ": best" not in text
    assert f"not to be told from {second} 0.0" in text and "from far" not in text
    assert f"best {lead} 0.0" in told(tmp_path / "clear", [one for one in rows if one.model != second])
    one_session = [row(name, 0, "all", value) for name, value in (("a", 0.1), ("b", 0.9))]
    assert "first a 0.100, not to be told from b 0.900" in told(tmp_path / "alone", one_session)


def test_a_row_that_equals_another_is_left_out(tmp_path):
    rows = [
        row(name, 0, str(k), TRUTH[k] * (1 + 1e-8 * (name == "copy"))) for name in ("raw", "copy") for k in range(9)
    ]
    rows += [row("other", 0, str(k), TRUTH[k] + 0.01) for k in range(9)]
    text = told(tmp_path, rows)
    assert list(answers(tmp_path / "out")) == ["raw", "other"]
    assert "copy is left out: all its values are those of raw." in text
    told(tmp_path, rows, against="copy")
    assert list(answers(tmp_path / "out")) == ["copy", "other"] and answers(tmp_path / "out")["copy"]["p"] == ""


SESSIONS = [f"m{animal}_day{day}" for animal in range(4) for day in range(3)]
SHIFT = {session: 0.3 * RNG.standard_normal() for session in SESSIONS}


def group_table(folder, model, gain, pooled):
    rows = []
    for session in SESSIONS:
        values = SHIFT[session] + gain + 0.05 * RNG.standard_normal(8)
        rows += [row(model, 0, str(k), value, "r2", session) for k, value in enumerate(values)]
        rows += [row(model, 0, "all", SHIFT[session] + gain, "r2", session)] if pooled else []
    folder.mkdir(parents=True)
    return write_scores(folder / "scores.csv", rows).parent


def test_a_session_counts_once_by_its_pooled_score(tmp_path):
    folders = [group_table(tmp_path / name, name, gain, pooled=True) for name, gain in (("one", 0.0), ("two", 0.1))]
    page = compare(folders, tmp_path / "out", units="sessions")
    found = answers(tmp_path / "out")
    values = np.array(list(SHIFT.values()))
    assert found["one"]["units"] == "12" and float(found["one"]["mean"]) == pytest.approx(values.mean())
    assert float(found["two"]["difference"]) == pytest.approx(0.1)
    assert float(found["two"]["p"]) == pytest.approx(wilcoxon(np.full(12, 0.1)).pvalue)
    width = float(found["one"]["ci_high"]) - float(found["one"]["ci_low"])
    t_width = 2 * student.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert width == pytest.approx(t_width, rel=0.2)
    assert "Mean over sessions" in page.read_text()
    assert found["two"]["note"] == "units are 12 sessions"
    compare(folders, tmp_path / "auto")
    assert answers(tmp_path / "auto") == found


def test_subjects_are_the_units_where_a_pattern_names_them(tmp_path):
    folders = [group_table(tmp_path / name, name, gain, pooled=False) for name, gain in (("one", 0.0), ("two", 0.1))]
    page = compare(folders, tmp_path / "out", subject="^(m[0-9]+)_")
    found = answers(tmp_path / "out")
    assert found["one"]["units"] == "4"
    assert "With 4 subjects, p cannot be smaller than 0.125" in page.read_text()
    with pytest.raises(ConfigError, match="finds no subject"):
        compare(folders, tmp_path / "x", subject="^(x[0-9]+)_")
    with pytest.raises(ConfigError, match="no regular expression"):
        compare(folders, tmp_path / "x", subject="(")
    assert not (tmp_path / "x").exists()


def test_two_recordings_of_one_name_are_not_taken_for_one(tmp_path):
    folders = [table(tmp_path / name, name) for name in ERRORS]
    other = write_scores(tmp_path / "again.csv", [row("one", 0, "0", 0.5), row("two", 0, "0", 0.6)])
    with pytest.raises(DataError, match="Session 's' has two different scores of one"):
        compare([*folders, other], tmp_path / "out")
