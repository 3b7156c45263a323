"""A run of before the package was rearranged still opens, infers, decodes and reports what it did.

`old_run.zip` was made by commit 4032bba: 48 trials of `simulate widefield` (seed 1, 8 x 8 pixels) through the chain `widefield`, of
which ΔF/F and stimuli were kept; `train cst-tiny --epochs 3` with `model.patch=[4,4]`, `windows.duration=1` and
`windows.fractions=[0.4, 0.1, 0.5]`; `infer`; `decode --target contrast --split blocked --set shuffles=19`. Its checkpoints were left out.
"""

import csv
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.cli.conftest import neurodyn as neurodyn

NUMBERS = ("value", "ci_low", "ci_high", "null_mean", "p", "n")


@pytest.fixture
def old(tmp_path) -> Path:
    with zipfile.ZipFile(Path(__file__).parent / "old_run.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / "run"


def scores(path: Path) -> dict[tuple[str, ...], list[float]]:
    with path.open(encoding="utf-8") as handle:
        return {
            (row["features"], row["metric"], row["fold"]): [float(row[name]) for name in NUMBERS]
            for row in csv.DictReader(handle)
        }


def test_it_decodes_and_reports_the_same_numbers(old, neurodyn):
    before = scores(old / "scores.csv")
    assert len(before) >= 60
    (old / "scores.csv").unlink()
    named = "pca:last+change,latents:last+change,reconstruction"  # today's defaults let training folds choose
    neurodyn(
        "decode", str(old), "--target", "contrast", "--split", "blocked", "--features", named, "--set", "shuffles=19"
    )
    after = scores(old / "scores.csv")
    new = {features for features, _, _ in after.keys() - before.keys()}
    assert new == {"pca:best", "reduced_rank:last"}
    assert before.keys() <= after.keys()
    for row, numbers in before.items():
        assert after[row] == pytest.approx(numbers, rel=1e-6, abs=1e-6, nan_ok=True), row  # sums differ by processor
    page = old.parent / "report.html"
    neurodyn("report", str(old), "-o", str(page))
    told = f"{before['latents:last+change', 'r2', 'all'][0]:.3f}"
    assert told in page.read_text(encoding="utf-8").replace("−", "-")


def test_its_model_infers_the_same_frames(old, neurodyn):
    before = np.asarray(zarr.open_array(old / "prediction.zarr" / "mean", mode="r"))
    shutil.rmtree(old / "prediction.zarr")
    neurodyn("infer", str(old), "--gpu", "none")
    after = np.asarray(zarr.open_array(old / "prediction.zarr" / "mean", mode="r"))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
