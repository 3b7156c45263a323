"""Jobs over a matrix: their cells, names and values, and which jobs a reference stands for."""

import time
from pathlib import Path

import pytest
import yaml

from neurodyn.core.config import build
from neurodyn.core.errors import ConfigError, UnknownNameError
from neurodyn.workflow.made import Job
from neurodyn.workflow.matrix import cell_name, cells, filled
from neurodyn.workflow.pipeline import PipelineSpec, load_pipeline, plan

MATRICES = {
    "all": [{"calcium": ["linear"], "seed": [0, 1]}, {"calcium": ["hill"], "seed": [0]}],
    "calcium": [{"calcium": ["linear", "hill"]}],
}
DATA = {
    "matrix": "all",
    "command": ["simulate", "lorenz"],
    "options": {"seed": "{seed}"},
    "set": {"calcium": "{calcium}"},
    "out": "data/{calcium}-{seed}.zarr",
}
TRAIN = {"matrix": "all", "command": ["train", "pca", "@data"], "out": "runs/{calcium}-{seed}"}


def planned(matrices: object = None, **jobs: object) -> tuple[dict[str, Job], dict]:
    spec = build(PipelineSpec, {"description": "test", "matrices": matrices or MATRICES, "jobs": jobs}, "test")
    found = plan(spec)
    return {job.name: job for job in found.jobs}, dict(found.configs)


def test_cells_are_the_combinations_of_each_list_in_order() -> None:
    assert cells([{"a": [1, 2], "b": ["x", "y"]}, {"a": [3]}]) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 3},
    ]
    assert cell_name("fit", {"calcium": "GCaMP 6f", "lr": 0.005}) == "fit_gcamp_6f_0_005"


def test_values_keep_their_type_where_they_stand_alone() -> None:
    cell = {"seed": 3, "lr": 0.1, "on": True}
    tree = {"seed": "{seed}", "deep": {"name": "run-{seed}-{lr}", "list": ["{on}", 5]}, "n": 1}
    assert filled(tree, cell, "x") == {"seed": 3, "deep": {"name": "run-3-0.1", "list": [True, 5]}, "n": 1}
    with pytest.raises(ConfigError, match=r"jobs\.a\.set: there is no axis or setting 'sead'"):
        filled({"set": "{sead}"}, cell, "jobs.a")


def test_a_job_becomes_one_job_per_cell_and_needs_its_own_cell() -> None:
    jobs, _ = planned(data=DATA, fit=TRAIN)
    assert list(jobs) == ["data_linear_0", "data_linear_1", "data_hill_0", "fit_linear_0", "fit_linear_1", "fit_hill_0"]
    assert jobs["data_hill_0"].argv == (
        *("simulate", "lorenz", "-o", "data/hill-0.zarr", "--seed", "0", "--set", "calcium=hill"),
        *("--existing", "overwrite"),
    )
    assert jobs["fit_linear_1"].needs == ("data_linear_1",)
    assert jobs["fit_linear_1"].argv[2] == "data/linear-1.zarr"


def test_a_star_stands_for_every_cell_that_agrees() -> None:
    jobs, _ = planned(
        data=DATA,
        fit=TRAIN,
        scores={"matrix": "calcium", "command": ["evaluate", "@fit*"], "out": "scores-{calcium}"},
        report={"command": ["report", "@scores*", "@fit*"], "out": "report.html"},
    )
    assert jobs["scores_linear"].needs == ("fit_linear_0", "fit_linear_1")
    assert jobs["scores_hill"].argv[1:2] == ("runs/hill-0",)
    assert jobs["report"].argv[1:6] == ("scores-linear", "scores-hill", "runs/linear-0", "runs/linear-1", "runs/hill-0")


def test_a_job_without_a_matrix_serves_every_cell() -> None:
    single = {"command": ["simulate", "lorenz"], "out": "one.zarr"}
    jobs, configs = planned(data=single, fit=TRAIN | {"config": {"training": {"seed": "{seed}"}}})
    assert {job.needs for name, job in jobs.items() if name.startswith("fit")} == {("data",)}
    assert configs["fit_linear_1"] == {"training": {"seed": 1}}
    assert "configs/fit_linear_1.yaml" in jobs["fit_linear_1"].argv


def test_references_that_are_not_one_job() -> None:
    with pytest.raises(ConfigError, match="@fit stands for 3 jobs") as caught:
        planned(data=DATA, fit=TRAIN, report={"command": ["report", "@fit"], "out": "r.html"})
    assert "@fit*" in caught.value.fix
    elsewhere = MATRICES | {"other": [{"calcium": ["quadratic"]}]}
    with pytest.raises(ConfigError, match="stands for 0 jobs"):
        planned(elsewhere, data=DATA, report={"matrix": "other", "command": ["report", "@data*"], "out": "r-{calcium}"})
    with pytest.raises(UnknownNameError, match="earlier job"):
        planned(fit=TRAIN, data=DATA)


def test_jobs_that_would_collide() -> None:
    with pytest.raises(ConfigError, match=r"the product data\.zarr"):
        planned(data=DATA | {"out": "data.zarr"})
    with pytest.raises(ConfigError, match="the name fit_a_b"):
        planned({"m": [{"x": ["a b", "a-b"]}]}, fit={"matrix": "m", "command": ["show"], "out": "{x}"})


def test_unknown_matrix() -> None:
    with pytest.raises(UnknownNameError, match=r"matrix for jobs\.data"):
        planned(data=DATA | {"matrix": "al"})


def test_braces_mean_nothing_without_a_matrix() -> None:
    jobs, _ = planned(data={"command": ["simulate", "lorenz"], "set": {"calcium": "{calcium}"}, "out": "a.zarr"})
    assert "calcium={calcium}" in jobs["data"].argv


def test_a_matrix_is_cut_down_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"description": "x", "matrices": MATRICES, "jobs": {"data": DATA, "fit": TRAIN}}))
    spec, _ = load_pipeline(str(path), ["matrices.all=[{calcium: [hill], seed: [7]}]", "jobs.data.set.bins=20"])
    jobs = plan(spec).jobs
    assert [job.name for job in jobs] == ["data_hill_7", "fit_hill_7"]
    assert "bins=20" in jobs[0].argv


SESSIONS = {"runs": [{"session": ["@inputs"], "model": ["pca", "psth"]}], "models": [{"model": ["pca", "psth"]}]}


def test_an_axis_over_the_inputs_names_them_and_hands_each_its_own(tmp_path: Path) -> None:
    jobs = {
        "fit": {"matrix": "runs", "command": ["train", "{model}", "@input"], "out": "runs/{session}/{model}"},
        "table": {"matrix": "models", "command": ["compare", "@fit*", "@input2"], "out": "table-{model}"},
    }
    spec = build(PipelineSpec, {"description": "test", "matrices": SESSIONS, "jobs": jobs}, "test")
    files = [tmp_path / "m1" / "day 1.zarr", tmp_path / "m2" / "day 1.zarr"]
    found = {job.name: job for job in plan(spec, files).jobs}
    assert list(found)[:4] == ["fit_m1_day_1_pca", "fit_m1_day_1_psth", "fit_m2_day_1_pca", "fit_m2_day_1_psth"]
    assert found["fit_m2_day_1_pca"].argv[:3] == ("train", "pca", str(files[1]))
    assert found["fit_m2_day_1_pca"].product == "runs/m2-day-1/pca"
    assert found["table_pca"].needs == ("fit_m1_day_1_pca", "fit_m2_day_1_pca")
    assert found["table_pca"].argv[3] == str(files[1])
    with pytest.raises(ConfigError, match="needs @inputs"):
        plan(spec)
    with pytest.raises(ConfigError, match="cannot be told apart"):
        plan(spec, [files[0], files[0]])


def test_cells_of_other_axes_are_found_in_the_order_they_were_made() -> None:
    matrices = {"mixed": [{"a": [1], "b": ["x"]}, {"c": ["y"]}, {"a": [1, 2], "c": ["y", "z"]}], "a": [{"a": [1, 2]}]}
    made = {"matrix": "mixed", "command": ["simulate", "lorenz"], "out": "{a}"}
    other = {"matrix": "a", "command": ["compare", "@made*"], "out": "t-{a}"}
    with pytest.raises(ConfigError, match="no axis"):
        planned(matrices, made=made)
    jobs, _ = planned(matrices, made=made | {"command": ["inspect"], "out": "all"}, other=other)
    assert jobs["other_1"].needs == ("made_1_x", "made_y", "made_1_y", "made_1_z")
    assert jobs["other_2"].needs == ("made_y", "made_2_y", "made_2_z")


def test_ten_thousand_jobs_are_planned_in_seconds() -> None:
    seeds = list(range(2500))
    matrices = {"all": [{"seed": seeds}], "two": [{"seed": seeds, "model": ["pca", "psth"]}]}
    jobs = {
        "data": {"matrix": "all", "command": ["simulate", "lorenz"], "out": "data/{seed}.zarr"},
        "fit": {"matrix": "two", "command": ["train", "{model}", "@data"], "out": "runs/{seed}-{model}"},
        "scores": {"matrix": "all", "command": ["compare", "@fit*"], "out": "scores/{seed}"},
    }
    start = time.process_time()
    found, _ = planned(matrices, **jobs)
    assert len(found) == 10_000 and found["scores_7"].needs == ("fit_7_pca", "fit_7_psth")
    assert time.process_time() - start < 30
