"""A real recording of every kind survives the way through NWB, exactly, and the NWB inspector has nothing critical to say."""

from pathlib import Path

import pytest
import yaml
from nwbinspector import Importance, inspect_nwbfile

from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from tests.readers.identical import assert_identical

SOURCES = Path(__file__).resolve().parents[2] / "examples" / "sources"
CAMERAS = {name: {"key": f"{name}_camera", "first": 0, "every": 2} for name in ("green", "red")}
TOLD = {
    "allen_excerpt/Experiment_552195520_excerpt.mat": "allen-excerpt",
    "flavell_worms/2022-07-27-45-data.h5": "flavell-worm",
    "ground_truth": {},
    "minian_1p/movie_1000x128x128_uint8.tif": {"fs": 15},
    "neurofinder/movie_600x128x128_uint16.tif": {"fs": 7},
    "park_v1_gratings/230804_mrcuts27_fov3.npz": "park-gratings",
    "seqnmf_birdsong/MackeviciusData.mat": {"fs": 30, "variables": {"spikes": {"key": "NEURAL", "axes": "roi,time"}}},
    "triplett_zebrafish/zf_20170215-f3.mat": "triplett-zebrafish",
    "yulong_widefield/widefield_bin4_128_frames0-199.h5": {"fs": 1, "variables": CAMERAS},
    "zivlab_hippocampus/C8M2_spike_train.mat": {"fs": 10, "variables": {"spikes": {"key": "spike_train/0"}}},
}
# The inspector takes the longest axis for time; this movie has fewer frames than rows.
UNFOUNDED = {"yulong_widefield/widefield_bin4_128_frames0-199.h5": ["check_data_orientation"]}


def files_of(path: Path) -> list[Path]:
    """The file, or that of the first cell of every ninth data set."""
    if path.is_file():
        return [path]
    return [min(one.glob("*.mat")) for one in sorted(path.iterdir())[::9] if one.is_dir()]


@pytest.mark.parametrize("name", TOLD)
def test_round_trip(name, shared_data, tmp_path):
    told = TOLD[name]
    if isinstance(told, str):
        told = yaml.safe_load((SOURCES / f"{told}.yaml").read_text())["source"]
    for number, path in enumerate(files_of(shared_data / name)):
        recording = read(path, ReadOptions.model_validate(told))
        written = write_nwb(recording, tmp_path / f"{number}.nwb")
        assert_identical(read(written), recording)
        assert grave(written) <= {"check_subject_species_exists", *UNFOUNDED.get(name, ())}


def grave(path: Path) -> set[str]:
    """What the inspector calls critical, or a violation of best practice; the species was not told here."""
    found = inspect_nwbfile(nwbfile_path=path, importance_threshold=Importance.BEST_PRACTICE_VIOLATION)
    return {one.check_function_name for one in found}
