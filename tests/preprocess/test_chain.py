"""Chains: loading, checking before running, running whole or not at all."""

import json

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.config import list_presets
from neurodyn.core.errors import ConfigError, DataError, UnknownNameError
from neurodyn.data.recording import Recording, entry
from neurodyn.preprocess.chain import chain_from_steps, load_chain


@pytest.fixture
def traces():
    rng = np.random.default_rng(0)
    calcium = rng.gamma(1.5, 20, (700, 6))
    neuropil = 200 + rng.normal(0, 5, (700, 6))
    return Recording.from_arrays(
        {"fluorescence": (300 + calcium + 0.7 * neuropil).astype("f4"), "neuropil": neuropil.astype("f4")},
        rate_hz=10,
        session="mouse7",
        indicator="GCaMP6f",
        stimulus={"start": np.array([1.0, 5.0]), "stop": np.array([2.0, 6.0]), "contrast": np.array([0.1, 0.5])},
        behavior=xr.Dataset({"speed": ("run_time", np.arange(30.0))}, {"run_time": np.arange(30) / 2}),
        history=[entry("convert", {"fs": 10})],
        attrs={"source_path": "a.tif"},
    )


@pytest.fixture
def movie():
    rng = np.random.default_rng(1)
    brain = np.ones((6, 7), dtype=bool)
    brain[0] = False
    blood = rng.normal(size=(700, 1, 1))
    signal = 1000 + 20 * blood + rng.normal(0, 5, (700, 6, 7))
    reference = 800 + 16 * blood + rng.normal(0, 1, (700, 6, 7))
    neural = {"fluorescence": signal.astype("f4"), "reference": reference.astype("f4")}
    return Recording.from_arrays(neural, rate_hz=10, brain=brain, indicator="GCaMP6f")


def test_two_photon_runs_from_counts_to_spikes(traces, tmp_path):
    seen = []
    chain = load_chain("two-photon")
    path = chain.run(traces, tmp_path / "out.zarr", progress=lambda step, share: seen.append((step, share)))
    made = Recording.open(path)
    assert set(made.variables) == {"fluorescence", "neuropil", "corrected", "dff", "spikes"}
    assert [item["step"] for item in made.history] == ["convert", "neuropil", "dff", "spike_network"]
    assert made.history[2]["params"]["f0_from"] == "fluorescence"
    assert made.tree.attrs["source_path"] == "a.tif"
    assert made.session == "mouse7"
    assert made.stimulus["contrast"].values.tolist() == [0.1, 0.5]
    assert made.table("behavior")["speed"].size == 30
    np.testing.assert_array_equal(made["fluorescence"].values, traces["fluorescence"].values)
    steps = list(dict.fromkeys(step for step, _ in seen))
    assert steps == ["copy", "neuropil", "dff", "spike_network"]
    for step in steps[1:]:
        shares = [share for name, share in seen if name == step]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_widefield_runs_on_a_movie_and_leaves_the_outside_at_zero(movie, tmp_path):
    made = Recording.open(load_chain("widefield").run(movie, tmp_path / "out.zarr"))
    assert set(made.variables) == {"fluorescence", "reference", "corrected", "dff"}
    assert (made["dff"].values[:, ~made.brain] == 0).all()
    assert np.isfinite(made["dff"].values).all()
    left, raw = (
        recording[name].values[:, 1:].std() for recording, name in ((made, "corrected"), (made, "fluorescence"))
    )
    assert left < 0.5 * raw


def test_every_packaged_chain_loads_describes_and_cites_itself():
    assert {"two-photon", "widefield", "traces", "zscore"} <= set(list_presets("chain"))
    for name in list_presets("chain"):
        chain = load_chain(name)
        assert chain.description
        assert [step["step"] for step in chain.describe()] == [name for name, _ in chain.steps]
        assert all(step.methods().endswith(".") and step.methods() in chain.methods() for _, step in chain.steps)
        assert all("(" in source for source in chain.citations())
        json.dumps(chain.describe())


@pytest.mark.parametrize("name", ["traces", "zscore"])
def test_trace_chains_run(traces, tmp_path, name):
    made = Recording.open(load_chain(name, ["dff.window=20"]).run(traces, tmp_path / "out.zarr"))
    assert made.history[1]["params"]["window"] == 20


def test_the_same_run_gives_the_same_bytes(traces, tmp_path):
    chain = load_chain("two-photon")
    first, second = (chain.run(traces, tmp_path / name / "out.zarr") for name in "ab")
    files = [sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file()) for root in (first, second)]
    assert files[0] == files[1]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files[0])


def test_sets_reach_a_step_by_place_or_by_name():
    for item in ("steps.1.window=30", "dff.window=30"):
        assert load_chain("two-photon", [item]).steps[1][1].params.window == 30
    twice = [{"step": "zscore", "input": "a", "output": "b"}, {"step": "zscore", "input": "b", "output": "c"}]
    with pytest.raises(ConfigError, match="ambiguous") as error:
        chain_from_steps(twice, "test", ["zscore.fit_until=0.5"])
    assert "steps.0.fit_until" in error.value.fix
    with pytest.raises(UnknownNameError, match="neuropil") as error:
        load_chain("two-photon", ["neuropill.coefficient=1"])
    assert "neuropil" in error.value.fix
    with pytest.raises(ConfigError, match="no step 7"):
        load_chain("two-photon", ["steps.7.window=1"])


def test_unknown_chains_steps_keys_and_values_name_the_place(tmp_path):
    with pytest.raises(UnknownNameError) as error:
        load_chain("two-foton")
    assert "two-photon" in error.value.fix
    with pytest.raises(DataError, match="does not exist"):
        load_chain(str(tmp_path / "none.yaml"))
    path = tmp_path / "mine.yaml"
    cases = {
        "steps:\n  - step: dff\n    windw: 30\n": (":3", "windw", "'window'"),
        "steps:\n  - step: dff\n  - step: deconv\n": (":3", "deconv", "'deconvolution'"),
        "steps:\n  - step: dff\n    window: -1\n": (":3", "steps.0.window", "steps.0.window"),
        "stepz:\n  - step: dff\n": ("", "not a list of steps", "show chain"),
        "note: 1\nsteps:\n  - step: dff\n": (":1", "note", ""),
        "steps: []\n": (":1", "not a list of steps", ""),
    }
    for text, (line, what, fix) in cases.items():
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            load_chain(path)
        assert f"{path}{line}" in error.value.what
        assert what in error.value.what
        assert fix in error.value.fix


def test_the_working_folders_chains_come_first(tmp_path, monkeypatch):
    folder = tmp_path / "pipelines" / "chains"
    folder.mkdir(parents=True)
    (folder / "traces.yaml").write_text("description: mine\nsteps:\n  - step: zscore\n")
    monkeypatch.chdir(tmp_path)
    assert load_chain("traces").description == "mine"


def test_check_refuses_before_anything_runs(traces, movie, tmp_path):
    missing = chain_from_steps([{"step": "hemodynamics"}], "test")
    with pytest.raises(DataError, match="needs 'reference'") as error:
        missing.run(traces, tmp_path / "out.zarr")
    assert "steps.0.reference=NAME" in error.value.fix
    with pytest.raises(DataError, match="cannot work on 'dff'"):
        load_chain("traces").check(movie)
    with pytest.raises(ConfigError, match="would overwrite 'fluorescence'"):
        chain_from_steps([{"step": "dff", "output": "fluorescence"}], "test").check(traces)
    later = chain_from_steps([{"step": "zscore"}, {"step": "dff"}], "test")
    with pytest.raises(DataError, match="needs 'dff'"):
        later.check(traces)
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_fails_leaves_nothing_and_keeps_what_was_there(traces, tmp_path):
    target = tmp_path / "out.zarr"
    load_chain("zscore", ["dff.window=20"]).run(traces, target)
    before = Recording.open(target).variables
    with pytest.raises(DataError, match="not suit"):
        load_chain("zscore", ["dff.method=fir"]).run(traces, target)
    assert set(Recording.open(target).variables) == set(before)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
    load_chain("zscore", ["dff.window=30"]).run(traces, target)
    assert Recording.open(target).history[1]["params"]["window"] == 30


def refused_before_copying(chain, recording, folder):
    """Return the refusal of a chain that must not have begun to copy."""
    said = []
    with pytest.raises((ConfigError, DataError)) as error:
        chain.run(recording, folder / "out.zarr", progress=lambda step, share: said.append(step))
    assert said == []
    assert list(folder.iterdir()) == []
    return error.value


def shorter(recording, frames):
    neural = {name: recording[name].variable[:frames] for name in recording.variables}
    return Recording.from_arrays(neural, rate_hz=recording.rate_hz, indicator=recording.indicator)


def test_a_window_longer_than_the_recording_is_shortened_with_a_word(traces, tmp_path, caplog):
    brief = shorter(traces, 500)  # 50 s
    made = Recording.open(load_chain("traces-suite2p").run(brief, tmp_path / "out.zarr"))
    neuropil, dff = made.history
    assert "note" not in neuropil
    assert dff["params"]["window"] == 49.9
    assert dff["note"] == (
        "The baseline's window of 60 s (601 frames) does not fit the recording (500 frames) and was shortened to 49.9 s."
    )
    assert dff["note"] in caplog.text
    asked = load_chain("traces-suite2p", ["dff.window=49.9"]).run(brief, tmp_path / "asked.zarr")
    np.testing.assert_array_equal(made["dff"].values, Recording.open(asked)["dff"].values)
    fitting = Recording.open(load_chain("traces-suite2p").run(shorter(traces, 601), tmp_path / "fits.zarr"))
    assert "note" not in fitting.history[1]


def test_a_rolling_baseline_of_deconvolution_says_that_it_was_shortened(traces, tmp_path):
    brief = shorter(traces, 500)
    made = load_chain("two-photon-oasis", ["deconvolution.baseline=maximin"]).run(brief, tmp_path / "out.zarr")
    assert (
        "shortened to the length of the recording or its stretches (50 s at least)"
        in (Recording.open(made).history[-1]["note"])
    )


@pytest.mark.parametrize(
    ("step", "frames", "what"),
    [
        ({"step": "dff", "method": "fir"}, 700, "1001 taps do not suit"),
        ({"step": "dff", "method": "butterworth", "cutoff": 7}, 700, "a cut-off of 7 Hz does not suit"),
        ({"step": "dff", "window": 0.1}, 700, "a window of 0.1 s does not suit"),
        ({"step": "neuropil", "method": "allen"}, 39, "too short to fit r"),
        ({"step": "deconvolution", "input": "fluorescence"}, 3, "3 frames are too few"),
        ({"step": "hemodynamics", "reference": "neuropil", "highpass": 0.1}, 90, "a high-pass of 0.1 Hz does not suit"),
        ({"step": "hemodynamics", "reference": "neuropil", "highpass": 6}, 90, "a high-pass of 6 Hz is not possible"),
    ],
)
def test_what_length_and_rate_rule_out_is_refused_before_anything_is_copied(traces, tmp_path, step, frames, what):
    error = refused_before_copying(chain_from_steps([step], "test"), shorter(traces, frames), tmp_path)
    assert what in error.what
    assert error.found.endswith(".")


def test_a_band_that_just_fits_is_taken(traces, tmp_path):
    chain = chain_from_steps([{"step": "hemodynamics", "reference": "neuropil", "highpass": 0.1}], "test")
    assert chain.run(shorter(traces, 100), tmp_path / "out.zarr").is_dir()


@pytest.mark.parametrize(("indicator", "tau"), [("GCaMP6s", "indicator"), ("unknown", "estimate")])
def test_the_table_of_indicators_comes_before_an_estimate(tmp_path, indicator, tau):
    rng = np.random.default_rng(4)
    calcium = np.zeros((700, 5))
    for frame in range(1, 700):
        calcium[frame] = 0.93 * calcium[frame - 1] + (rng.random(5) < 0.05)  # 1.38 s, which is not the table's
    recording = Recording.from_arrays(
        {"fluorescence": 100 + 50 * calcium + rng.normal(0, 1, (700, 5))}, rate_hz=10, indicator=indicator
    )
    made = Recording.open(load_chain("traces-oasis").run(recording, tmp_path / "out.zarr"))
    assert made.history[-1]["params"]["tau"] == tau
    found = made["spikes"].attrs["tau"]
    assert found == 1.25 if tau == "indicator" else found != 1.25
