"""Recordings with ROIs at known places against regions in neurofinder's JSON."""

import json

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.regions import read_regions
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.rois import Rois, RoisConfig
from neurodyn.evaluate.run import evaluate
from tests.evaluate.recordings import disk, with_rois

PLACES = [(10, 10), (10, 30), (30, 10), (30, 30)]


@pytest.fixture
def marked(tmp_path):
    path = tmp_path / "regions.json"
    path.write_text(json.dumps([{"id": k, "coordinates": disk(*place).tolist()} for k, place in enumerate(PLACES)]))
    return path


def test_recall_precision_and_overlap_of_two_recordings(tmp_path, marked):
    near = [disk(10, 10), disk(10, 32), disk(20, 20)]  # exact, two pixels off, nowhere near
    good = with_rois(tmp_path / "good.zarr", [disk(*place) for place in PLACES], preset="default")
    poor = with_rois(tmp_path / "poor.zarr", near, preset="fast")
    path = evaluate(Rois(RoisConfig(regions=marked)), [good, poor], tmp_path / "scores")
    rows = {(s.features, s.metric): s for s in read_scores(path)}
    assert {rows["good", metric].value for metric in ("recall", "precision", "f1", "inclusion")} == {1.0}
    assert rows["poor", "recall"].value == pytest.approx(2 / 4)
    assert rows["poor", "precision"].value == pytest.approx(2 / 3)
    assert rows["poor", "f1"].value == pytest.approx(4 / 7)
    overlap = len({*map(tuple, disk(10, 30))} & {*map(tuple, disk(10, 32))}) / len(disk(10, 30))
    assert rows["poor", "inclusion"].value == pytest.approx((1 + overlap) / 2)
    assert (rows["good", "f1"].decoder, rows["poor", "f1"].decoder) == ("suite2p default", "suite2p fast")
    closer = evaluate(Rois(RoisConfig(regions=marked, distance=1.0)), [poor], tmp_path / "closer")
    assert {s.metric: s.value for s in read_scores(closer)}["recall"] == pytest.approx(1 / 4)
    assert (
        path.read_bytes() == evaluate(Rois(RoisConfig(regions=marked)), [good, poor], tmp_path / "again").read_bytes()
    )


def test_a_recording_can_be_the_truth(tmp_path):
    truth = with_rois(tmp_path / "truth.zarr", [disk(*place) for place in PLACES])
    found = with_rois(tmp_path / "found.zarr", [disk(*place) for place in PLACES[:3]])
    rows = {
        s.metric: s.value for s in read_scores(evaluate(Rois(RoisConfig(regions=truth)), [found], tmp_path / "scores"))
    }
    assert (rows["recall"], rows["precision"], rows["exclusion"]) == (0.75, 1.0, 1.0)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '[{"id": 1}]', '[{"coordinates": [[1, 2, 3]]}]', '[{"coordinates": []}]']
)
def test_a_file_without_regions_is_refused(tmp_path, text):
    (tmp_path / "regions.json").write_text(text)
    with pytest.raises(DataError, match="holds no regions"):
        read_regions(tmp_path / "regions.json")


def test_regions_of_another_frame_and_recordings_without_rois_are_refused(tmp_path, marked):
    regions = json.loads(marked.read_text())
    regions[0]["coordinates"] = [[10, 48]]
    marked.write_text(json.dumps(regions))
    found = with_rois(tmp_path / "found.zarr", [disk(10, 10)])
    with pytest.raises(DataError, match="do not lie in this movie"):
        evaluate(Rois(RoisConfig(regions=marked)), [found], tmp_path / "scores")
    bare = Recording.from_arrays({"fluorescence": np.ones((5, 3), "f4")}, rate_hz=10).save(tmp_path / "bare.zarr")
    with pytest.raises(DataError, match="no ROIs with centres"):
        evaluate(Rois(RoisConfig(regions=marked)), [bare], tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_the_marked_regions_of_neurofinder_are_rows_and_columns(shared_data):
    regions = read_regions(shared_data / "neurofinder" / "regions.json")
    assert len(regions.centres) == 38
    assert regions.centres[0] == pytest.approx([25.4, 53.6], abs=0.5)
    assert len(regions.pixels[0]) == 41
