"""Ground truth: inferred spikes beside suite2p's and raw ΔF/F, on every recording there is."""

import subprocess
import sys

import pytest

from neurodyn.data.scores import read_scores
from neurodyn.preprocess.spike_scores import EVERY

SLOW, FAST = "r at 7.5 Hz, 200 ms", "r at 25 Hz"
LEVEL = 0.005
# Somatostatin interneurons in slices: at 25 Hz neither ΔF/F nor what is inferred from it follows their spikes.
BEYOND = "DS25-GCaMP6f-m-SST-V1"


@pytest.mark.slow
def test_level_with_suite2p_everywhere_and_above_it_on_average(shared_data, tmp_path):
    files = sorted((shared_data / "ground_truth").glob("*/*.mat"))
    command = [
        sys.executable,
        "-m",
        "neurodyn",
        "run",
        "spike-inference",
        *map(str, files),
        "-o",
        str(tmp_path / "out"),
    ]
    subprocess.run(command, check=True, timeout=280)
    scores = {
        (s.session, s.metric, s.features): s
        for s in read_scores(tmp_path / "out" / "scores" / "scores.csv")
        if s.fold == "all"
    }
    datasets = sorted({session for session, _, _ in scores} - {EVERY})
    assert len(datasets) == len({path.parent.name for path in files})
    for dataset in datasets:
        for metric in (SLOW, FAST):
            ours, suite2p, raw = (scores[dataset, metric, name].value for name in ("spikes", "spikes_suite2p", "dff"))
            print(f"{dataset}, {metric}: ours {ours:.3f}, suite2p {suite2p:.3f}, raw {raw:.3f}")  # noqa: T201
            assert ours >= suite2p - LEVEL
            assert metric == SLOW or dataset == BEYOND or ours >= raw + 0.1
    for metric in (SLOW, FAST):
        assert scores[EVERY, metric, "spikes minus spikes_suite2p"].ci_low > 0
    assert scores[EVERY, FAST, "spikes minus dff"].ci_low > 0.1
    assert (tmp_path / "out" / "report.html").is_file()
