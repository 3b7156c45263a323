"""From a rig's files to one report by one command: simulated sessions, real ones, and one that is killed."""

import csv
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from neurodyn.data.recording import Recording
from neurodyn.readers.export import write_csv, write_tiff
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams

from .killing import command, finish

SMALL = {"movie": True, "cells": 8, "height": 48, "width": 48, "radius": 2.5, "rate_hz": 10, "on": 1, "off": 1}
DAYS = {"movie": True, "cells": 25, "height": 96, "width": 96, "radius": 3, "rate_hz": 15, "repeats": 6, "animal": 1}
MINUTES = 600.0  # s within which the first job must end


def rig(folder: Path, name: str, **params: object) -> Recording:
    """Write what a rig leaves: a TIFF stack and a log of trials of the same name."""
    made = TwoPhoton(TwoPhotonParams.model_validate(params)).make()
    write_tiff(made, folder / f"{name}.tif", "fluorescence")
    write_csv(made, folder / f"{name}.csv", "stimulus")
    return made


def sections(page: Path) -> list[str]:
    return re.findall(r"<h2>([^<]*)</h2>", page.read_text(encoding="utf-8"))


def done_at(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "jobs").glob("*/*.done")}


@pytest.mark.timeout(900)
def test_a_killed_session_goes_on_and_ends_in_one_report(tmp_path: Path) -> None:
    rig(tmp_path, "a", directions=4, repeats=4, **SMALL)
    line = command("run", "session", "a.tif", "--fs", 10, "--stimulus", "a.csv", "-o", "out")
    process = subprocess.Popen(line, cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE)
    begun = time.monotonic()
    while not (done := done_at(tmp_path / "out")) and time.monotonic() < begun + MINUTES:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    said = process.communicate()[1].decode()
    assert "a.tif: the indicator is not told (--indicator NAME)" in said and list(done) == ["recording_a.done"]

    finish(line, tmp_path)
    now = done_at(tmp_path / "out")
    assert len(now) == 6 and now["recording_a.done"] == done["recording_a.done"]
    shown = sections(tmp_path / "out" / "a" / "report.html")
    assert [title.partition(":")[0] for title in shown[:5]] == [
        "At a glance", "Cells", "Signals", "Responses", "Decoding"
    ]  # fmt: skip
    page = (tmp_path / "out" / "a" / "report.html").read_text(encoding="utf-8")
    assert "inferred spikes blue beneath" in page and "--indicator NAME" in page
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '<a href="a/report.html"><img src="data:image/png' in index


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_days_of_one_animal_are_tuned_decoded_and_matched(tmp_path: Path) -> None:
    days = [rig(tmp_path, f"day{seed}", seed=seed, **DAYS) for seed in (1, 2)]
    line = command("run", "session", "day1.tif", "day2.tif", "--fs", 15, "--indicator", "GCaMP6f", "--days")
    finish([*line, "--stimulus", "{stem}.csv", "-o", "out", "-j", "2"], tmp_path)
    for name, truth in zip(("day1", "day2"), days, strict=True):
        with (tmp_path / "out" / name / "decoding" / "scores.csv").open(newline="") as handle:
            cosines = [row for row in csv.DictReader(handle) if row["metric"] == "mean cosine" and row["fold"] == "all"]
        best = max(float(row["value"]) for row in cosines)
        page = (tmp_path / "out" / name / "report.html").read_text(encoding="utf-8")
        tuned = next(re.finditer(r"(\d+) of (\d+) cells are tuned", page))
        planted = int(truth.table("truth")["tuned"].values.sum())
        print(f"\n{name}: {tuned[0]} ({planted} of {DAYS['cells']} are), mean cosine {best:.2f}")
        assert best > 0.5 and int(tuned[1]) > planted / 2
    with (tmp_path / "out" / "matched" / "cells.csv").open(newline="") as handle:
        shared = [row for row in csv.DictReader(handle) if row["day1"] and row["day2"]]
    index = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert f"{len(shared)} of" in index and "cells are in every session" in index
    print(f"{len(shared)} of {DAYS['cells']} cells found on both days")
    assert len(shared) > 0.7 * float(DAYS["cells"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_real_two_photon_movie(shared_data: Path, tmp_path: Path) -> None:
    movie = shared_data / "neurofinder" / "movie_600x128x128_uint16.tif"
    finish(command("run", "session", movie, "--fs", 7, "--indicator", "GCaMP6s", "-o", "out"), tmp_path)
    page = tmp_path / "out" / movie.stem / "report.html"
    assert sections(page)[0] == "At a glance" and "no stimulus" in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_real_widefield_movie(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "yulong_widefield"
    cameras = (
        "{fluorescence: {key: red_camera, first: 0, every: 2}, reference: {key: green_camera, first: 1, every: 2}}"
    )
    movie = folder / "widefield_bin4_128_frames0-199.h5"
    line = command(
        "run", "session-widefield", movie, "--indicator", "jRGECO1a", "--brain", folder / "WholeCortexMask.tif"
    )
    line += ["-s", "source.times=frame_times_s", "-s", f"source.variables={cameras}", "-o", "out"]
    finish(line, tmp_path)
    page = tmp_path / "out" / movie.stem / "report.html"
    assert sections(page)[0].startswith("Signals") and "no stimulus" in page.read_text(encoding="utf-8")
