"""Bad input: the right exit code, three clear lines, no traceback, nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from neurodyn.data.recording import Recording
from tests.cli.conftest import Outcome

Case = Callable[[Path], list[object]]
CASES: dict[str, tuple[int, Case]] = {}
OUT = "product.zarr"


def case(code: int) -> Callable[[Case], Case]:
    """Register a bad command: the function prepares the folder and returns the arguments."""

    def register(function: Case) -> Case:
        CASES[function.__name__] = (code, function)
        return function

    return register


def traces(folder: Path, values: np.ndarray | None = None, name: str = "recording.zarr", rate: float = 10.0) -> Path:
    """Write a small recording of traces with a stimulus table."""
    values = np.random.default_rng(0).normal(100, 5, (600, 4)).astype(np.float32) if values is None else values
    start = np.arange(2.0, 55.0, 5.0)
    stimulus = {"start": start, "stop": start + 2, "contrast": np.resize([0.1, 0.5, 1.0], start.size)}
    return Recording.from_arrays({"fluorescence": values}, rate_hz=rate, stimulus=stimulus).save(folder / name)


def movie(folder: Path, frames: np.ndarray | None = None) -> Path:
    """Write a small TIFF movie."""
    frames = np.random.default_rng(0).integers(100, 900, (30, 16, 16)).astype(np.uint16) if frames is None else frames
    tifffile.imwrite(folder / "movie.tif", frames, photometric="minisblack")
    return folder / "movie.tif"


def dff_chain(folder: Path) -> Path:
    """Write a chain of one short ΔF/F step."""
    (folder / "chain.yaml").write_text("description: short\nsteps:\n  - {step: dff, window: 2}\n")
    return folder / "chain.yaml"


@case(3)
def missing_file(folder: Path) -> list[object]:
    return ["preprocess", folder / "none.tif", "-o", folder / OUT, "--fs", 10]


@case(3)
def truncated_tiff(folder: Path) -> list[object]:
    path = movie(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return ["convert", path, folder / OUT, "--fs", 10]


@case(3)
def text_as_tiff(folder: Path) -> list[object]:
    (folder / "movie.tif").write_text("not a movie")
    return ["convert", folder / "movie.tif", folder / OUT, "--fs", 10]


@case(3)
def unknown_format(folder: Path) -> list[object]:
    (folder / "notes.txt").write_text("hello")
    return ["convert", folder / "notes.txt", folder / OUT]


@case(3)
def four_axes_unnamed(folder: Path) -> list[object]:
    np.save(folder / "a.npy", np.zeros((2, 3, 4, 5)))
    return ["convert", folder / "a.npy", folder / OUT, "--fs", 10]


@case(3)
def axes_do_not_fit(folder: Path) -> list[object]:
    np.save(folder / "a.npy", np.zeros((20, 4)))
    return ["convert", folder / "a.npy", folder / OUT, "--fs", 10, "--axes", "time,y,x"]


@case(3)
def no_rate(folder: Path) -> list[object]:
    return ["convert", movie(folder), folder / OUT]


@case(2)
def negative_rate(folder: Path) -> list[object]:
    return ["convert", movie(folder), folder / OUT, "--fs", -3]


@case(3)
def rate_contradicts_recording(folder: Path) -> list[object]:
    return ["preprocess", traces(folder), "-o", folder / OUT, "--fs", 30, "--chain", dff_chain(folder)]


@case(3)
def channels_do_not_divide(folder: Path) -> list[object]:
    frames = np.ones((31, 16, 16), dtype=np.uint16)
    return ["convert", movie(folder, frames), folder / OUT, "--fs", 10, "--channels", "fluorescence,reference"]


@case(3)
def nan_frames(folder: Path) -> list[object]:
    values = np.full((600, 4), 100.0, dtype=np.float32)
    values[50:53, 1] = np.nan
    return ["preprocess", traces(folder, values), "-o", folder / OUT, "--chain", dff_chain(folder)]


@case(3)
def all_zero_movie(folder: Path) -> list[object]:
    path = movie(folder, np.zeros((60, 16, 16), dtype=np.uint16))
    return ["preprocess", path, "-o", folder / OUT, "--fs", 10, "--chain", dff_chain(folder)]


@case(3)
def chain_needs_other_variables(folder: Path) -> list[object]:
    return ["preprocess", traces(folder), "-o", folder / OUT, "--chain", "widefield"]


@case(2)
def unknown_chain(folder: Path) -> list[object]:
    return ["preprocess", traces(folder), "-o", folder / OUT, "--chain", "widefeld"]


@case(2)
def unknown_step(folder: Path) -> list[object]:
    (folder / "chain.yaml").write_text("description: typo\nsteps:\n  - {step: dfff}\n")
    return ["preprocess", traces(folder), "-o", folder / OUT, "--chain", folder / "chain.yaml"]


@case(2)
def unknown_step_key(folder: Path) -> list[object]:
    (folder / "chain.yaml").write_text("description: typo\nsteps:\n  - {step: dff, windw: 3}\n")
    return ["preprocess", traces(folder), "-o", folder / OUT, "--chain", folder / "chain.yaml"]


@case(2)
def broken_yaml(folder: Path) -> list[object]:
    (folder / "chain.yaml").write_text("steps: [\n  - a: b: c\n")
    return ["preprocess", traces(folder), "-o", folder / OUT, "--chain", folder / "chain.yaml"]


@case(3)
def times_go_backwards(folder: Path) -> list[object]:
    with h5py.File(folder / "a.h5", "w") as file:
        file["mov"] = np.ones((5, 4, 4), dtype=np.float32)
        file["t"] = np.array([0.0, 0.1, 0.3, 0.2, 0.4])
    return ["convert", folder / "a.h5", folder / OUT, "--key", "mov", "--set", "source.times=t"]


@case(3)
def two_datasets_and_no_key(folder: Path) -> list[object]:
    with h5py.File(folder / "a.h5", "w") as file:
        file["a"] = np.ones((5, 4, 4))
        file["b"] = np.ones((5, 4, 4))
    return ["convert", folder / "a.h5", folder / OUT, "--fs", 10]


@case(3)
def pickled_array(folder: Path) -> list[object]:
    np.save(folder / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return ["convert", folder / "a.npy", folder / OUT, "--fs", 10]


@case(2)
def unknown_model(folder: Path) -> list[object]:
    return ["train", "cstt", traces(folder), "-o", folder / OUT]


@case(2)
def unknown_training_key(folder: Path) -> list[object]:
    return ["train", "pca", traces(folder), "-o", folder / OUT, "--set", "training.epoch=3"]


@case(2)
def wrong_kind_of_value(folder: Path) -> list[object]:
    return ["train", "pca", traces(folder), "-o", folder / OUT, "--set", "training.batch=many"]


@case(2)
def set_without_value(folder: Path) -> list[object]:
    return ["train", "pca", traces(folder), "-o", folder / OUT, "--set", "training.batch"]


@case(2)
def absent_gpu(folder: Path) -> list[object]:
    return ["train", "pca", traces(folder), "-o", folder / OUT, "--gpu", "97", "--set", "windows.variable=fluorescence"]


@case(3)
def variable_not_in_recording(folder: Path) -> list[object]:
    return ["train", "pca", traces(folder), "-o", folder / OUT, "--gpu", "none"]


@case(3)
def training_window_too_long(folder: Path) -> list[object]:
    sets = ["--set", "windows.variable=fluorescence", "--set", "windows.duration=1000"]
    return ["train", "pca", traces(folder), "-o", folder / OUT, "--gpu", "none", *sets]


@case(2)
def occupied_output(folder: Path) -> list[object]:
    traces(folder, name="other.zarr")
    return ["preprocess", traces(folder), "-o", folder / "other.zarr", "--chain", dff_chain(folder)]


@case(1)
def output_below_a_file(folder: Path) -> list[object]:
    (folder / "file").write_text("")
    return ["convert", traces(folder), folder / "file" / OUT]


@case(3)
def not_a_run(folder: Path) -> list[object]:
    (folder / "empty").mkdir()
    return ["infer", folder / "empty"]


@case(3)
def report_of_nothing(folder: Path) -> list[object]:
    (folder / "empty").mkdir()
    return ["report", folder / "empty", "-o", folder / OUT]


@case(3)
def unknown_target(folder: Path) -> list[object]:
    return ["decode", traces(folder), "--target", "contrst", "--features", "fluorescence", "-o", folder / OUT]


@case(2)
def unknown_decoder(folder: Path) -> list[object]:
    return [
        "decode",
        traces(folder),
        "--target",
        "contrast",
        "--features",
        "fluorescence",
        "--decoder",
        "knnn",
        "-o",
        folder / OUT,
    ]


@case(2)
def unknown_simulator(folder: Path) -> list[object]:
    return ["simulate", "widefeld", "-o", folder / OUT]


@case(2)
def impossible_parameter(folder: Path) -> list[object]:
    return ["simulate", "widefield", "-o", folder / OUT, "--set", "trials=-3"]


@case(2)
def unknown_option(folder: Path) -> list[object]:
    return ["convert", traces(folder), folder / OUT, "--fps", 3]


@case(2)
def unwritable_format(folder: Path) -> list[object]:
    return ["convert", traces(folder), folder / "product.xyz"]


@case(2)
def pipeline_out_of_order(folder: Path) -> list[object]:
    (folder / "p.yaml").write_text("description: x\njobs:\n  a: {command: [preprocess, '@b'], out: a.zarr}\n")
    return ["run", folder / "p.yaml", "-o", folder / OUT]


@case(3)
def pipeline_input_missing(folder: Path) -> list[object]:
    (folder / "p.yaml").write_text("description: x\njobs:\n  a: {command: [convert, '@input'], out: a.zarr}\n")
    return ["run", folder / "p.yaml", folder / "none.tif", "-o", folder / OUT]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_ends_well(name: str, tmp_path: Path, neurodyn: Callable[..., Outcome]) -> None:
    code, prepare = CASES[name]
    arguments = prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    outcome = neurodyn(*arguments)

    lines = outcome.err.strip().splitlines()[-3:]
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert len(lines) == 3 and lines[0].startswith("Error: ") and all(line.strip() for line in lines), outcome.err
    assert "Traceback" not in outcome.err and "fault in neurodyn" not in outcome.err
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    made = {path.relative_to(tmp_path).as_posix() for path in after.keys() - before.keys()}
    assert not made, f"left behind: {made}"


def test_there_are_thirty_bad_inputs() -> None:
    assert len(CASES) >= 30
