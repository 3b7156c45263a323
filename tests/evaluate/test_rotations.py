"""Rotations of a simulated population are found in its rates, through a run's noisy estimates too."""

import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.rotations import Rotations, RotationsConfig
from neurodyn.evaluate.run import evaluate
from tests.decode.runs import make_run, simulated


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("recordings"), "rotations", cells=20, conditions=12, frequency=2.0)


@pytest.fixture(scope="module")
def rows(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rotations")
    run = make_run(folder / "run", source, noise=0.02)
    table = evaluate(Rotations(RotationsConfig()), [run], folder / "out")
    return {(s.split, s.features, s.metric): s for s in read_scores(table)}


@pytest.mark.parametrize("features", ["true rates", "rates"])
def test_the_planted_frequency_is_found(rows, features):
    found = rows["column:valid", features, "jpca_frequency_hz"]
    assert found.value == pytest.approx(2.0, rel=0.03)
    assert (found.n, found.unit) == (12, "conditions")
    assert found.ci_low < found.value < found.ci_high
    assert rows["column:test", features, "jpca_frequency_hz"].n == 4


def test_a_skewed_view_of_a_rotation_is_said_to_bias_it(rows):
    found = rows["column:valid", "latents", "jpca_frequency_hz"]
    assert 0.3 < found.value < 2.0
    assert "affine map" in found.note
    assert not rows["column:valid", "rates", "jpca_frequency_hz"].note


def test_true_rates_rotate_purely_and_noise_hides_some_of_it(rows):
    assert rows["column:valid", "true rates", "jpca_r2_skew"].value > 0.95
    assert rows["column:valid", "true rates", "jpca_plane_variance"].value > 0.99
    assert (
        rows["column:valid", "rates", "jpca_r2_skew"].value < rows["column:valid", "true rates", "jpca_r2_skew"].value
    )
    assert rows["column:valid", "rates", "jpca_plane_overlap"].value > 0.95
    assert rows["column:valid", "rates", "jpca_r2_ratio"].value <= 1


def test_a_variable_of_the_recording_can_be_analysed_beside(source, tmp_path):
    config = RotationsConfig(features=("dff",), start=0.1, stop=0.8)
    rows = {(s.split, s.features, s.metric) for s in read_scores(evaluate(Rotations(config), [source], tmp_path))}
    assert ("recorded:valid", "dff", "jpca_r2_skew") in rows
    assert ("recorded:valid", "true rates", "jpca_r2_skew") in rows


def test_too_few_conditions_or_frames_are_errors(source, tmp_path):
    with pytest.raises(DataError, match="too few frames"):
        evaluate(Rotations(RotationsConfig(start=0.89)), [source], tmp_path)
    with pytest.raises(DataError, match="cannot be averaged by condition"):
        evaluate(Rotations(RotationsConfig(condition="part")), [source], tmp_path)
    with pytest.raises(DataError, match="no stimulus column 'angle'"):
        evaluate(Rotations(RotationsConfig(condition="angle")), [source], tmp_path)
