"""Targets through the command line: codes are classes, directions lie on a circle, and the first line says so."""

import numpy as np
import pytest

from neurodyn.core.files import read_json
from neurodyn.data.scores import read_scores

HEADER = "features "


def converted(neurodyn, folder, column, values, respond):
    """Convert traces of 2 s of response every 4 s, and their table of stimuli, as a rig leaves them."""
    onsets = np.arange(values.size) * 4.0 + 5
    rng = np.random.default_rng(3)
    dff = rng.normal(0, 0.3, (int((onsets[-1] + 8) * 10), 12)).astype("f4")
    for onset, value in zip(onsets, values, strict=True):
        dff[int(onset * 10) : int(onset * 10) + 20] += respond(value, rng)
    np.savez(folder / "rig.npz", dff=dff)
    rows = [f"{onset},{onset + 2},{value}" for onset, value in zip(onsets, values, strict=True)]
    (folder / "rig.csv").write_text("\n".join([f"start,stop,{column}", *rows]) + "\n")
    told = ("--fs", 10, "--set", "source.variables={dff: {key: dff}}", "--stimulus", folder / "rig.csv")
    done = neurodyn("convert", folder / "rig.npz", folder / "rig.zarr", *told)
    assert done.code == 0, done.err
    return folder / "rig.zarr"


def decoded(neurodyn, recording, *more):
    """Decode with few shuffles; the first line of the table, and the pooled scores by metric."""
    done = neurodyn("decode", recording, "--shuffles", 9, "--features", "dff:response", *more)
    assert done.code == 0, done.err
    lines = done.err.splitlines()
    first = lines[next(k for k, line in enumerate(lines) if line.startswith(HEADER)) - 1]
    scores = [s for s in read_scores(recording.with_suffix(".decode") / "scores.csv") if s.fold == "all"]
    return first, {s.metric: s for s in scores if s.features == "dff:response"}


def test_codes_of_images_are_classes(neurodyn, tmp_path):
    images = np.tile(np.arange(4), 5)
    recording = converted(neurodyn, tmp_path, "image", images, lambda k, _: np.eye(12)[(k * 5) % 12])
    first, scores = decoded(neurodyn, recording)
    assert first == "image: 4 integer codes, 5 trials each: classes (lda). As a quantity: --set task=regress"
    accuracy = scores["accuracy"]
    assert (accuracy.decoder, accuracy.value, accuracy.n) == ("lda", 1.0, 20)
    assert "chance 0.250" in accuracy.note
    assert first in accuracy.note
    assert "one window per event, from 1 s before its start to 2 s after it" in accuracy.note
    assert read_json(tmp_path / "rig.decode/decode.json")["sessions"][0]["taken"] == first
    first, scores = decoded(neurodyn, recording, "--set", "task=regress")
    assert first == "image: 4 integer codes, 5 trials each: a quantity (ridge). As classes: --set task=classify"
    assert set(scores) == {"r2", "mse"}


@pytest.mark.parametrize(
    ("target", "period", "taken"),
    [("direction", 360, "8 values from 0 to 315 degrees"), ("direction%180", 180, "4 values from 0 to 135 degrees")],
)
def test_directions_lie_on_a_circle(neurodyn, tmp_path, target, period, taken):
    preferred = np.arange(12) * 30
    directions = np.tile(np.arange(0, 360, 45), 4)
    recording = converted(
        neurodyn, tmp_path, "direction", directions, lambda d, _: np.exp(2 * (np.cos(np.deg2rad(d - preferred)) - 1))
    )
    first, scores = decoded(neurodyn, recording, "--target", target)
    assert first == f"{target}: {taken}: a circle of {period} degrees (ridge). As classes: --set task=classify"
    assert set(scores) == {"mean cosine", "error, deg"}
    assert scores["mean cosine"].value > 0.9
    assert scores["error, deg"].value < period / 20
    assert f"chance {period / 4:.3f}" in scores["error, deg"].note
    assert "chance 0.000" in scores["mean cosine"].note
    assert scores["error, deg"].p == 0.1
