"""One place decides which chain suits a recording; `preprocess` and `inspect` take its word."""

from __future__ import annotations

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import load_chain
from neurodyn.preprocess.default import default_chain

RNG = np.random.default_rng(0)
TRACES, MOVIE = (700, 3), (700, 6, 7)


def recording(indicator="unknown", rate_hz=10, **shapes):
    arrays = {name: (300 + RNG.gamma(2, 20, shape)).astype("f4") for name, shape in shapes.items()}
    return Recording.from_arrays(arrays, rate_hz=rate_hz, indicator=indicator, session="m1")


CASES = [
    ("unknown", {"fluorescence": TRACES}, "traces"),
    ("GCaMP6s", {"fluorescence": TRACES}, "traces"),
    ("unknown", {"fluorescence": TRACES, "neuropil": TRACES}, "two-photon"),
    ("GCaMP9x", {"fluorescence": TRACES, "neuropil": TRACES, "rate_hz": 2}, "traces-suite2p"),
    ("GCaMP6s", {"fluorescence": TRACES, "neuropil": TRACES, "rate_hz": 2}, "two-photon-oasis"),
    ("unknown", {"fluorescence": TRACES, "rate_hz": 2}, "traces-oasis"),
    ("GCaMP6s", {"fluorescence": TRACES, "neuropil": TRACES}, "two-photon"),
    ("GCaMP6s", {"fluorescence": MOVIE, "reference": MOVIE}, "widefield"),
    ("GCaMP6s", {"dff": TRACES}, "spikes"),
    ("unknown", {"dff": TRACES}, "spikes"),
    ("GCaMP6s", {"dff": TRACES, "rate_hz": 2}, "spikes-oasis"),
    ("unknown", {"dff": TRACES, "rate_hz": 2}, "counts"),
    ("GCaMP6s", {"dff": TRACES, "fluorescence": TRACES, "neuropil": TRACES}, "spikes"),
]


@pytest.mark.parametrize(("indicator", "shapes", "chain"), CASES)
def test_each_kind_of_recording_has_its_chain_and_the_chain_fits(indicator, shapes, chain):
    made = recording(indicator, **shapes)
    name, why = default_chain(made)
    assert name == chain
    assert why
    load_chain(name).check(made)


def test_why_names_what_decided():
    both = {"fluorescence": TRACES, "neuropil": TRACES}
    assert default_chain(recording("GCaMP6f", rate_hz=2, **both))[1] == (
        "fluorescence of ROIs with neuropil, too slow for the spike network; the kinetics of GCaMP6f are on record"
    )
    assert "no kinetics are on record for 'unknown'" in default_chain(recording(rate_hz=2, **both))[1]
    assert "the spike network needs no kinetics" in default_chain(recording(**both))[1]


@pytest.mark.parametrize(
    ("shapes", "found", "fix"),
    [
        ({"fluorescence": MOVIE}, "widefield, or two-photon", "--chain widefield-mean. Two-photon: neurodyn extract"),
        ({"dff": MOVIE}, "dff already", "neurodyn list chains"),
        ({"dff": TRACES, "spikes": TRACES}, "dff, spikes already", "neurodyn list chains"),
        ({"raw": TRACES}, "no fluorescence and no dff", "neurodyn list chains"),
        ({"fluorescence": TRACES, "corrected": TRACES}, "subtracted already", "dff.input=corrected"),
    ],
)
def test_what_can_be_told_in_two_ways_is_not_guessed(shapes, found, fix):
    with pytest.raises(DataError) as error:
        default_chain(recording(**shapes))
    assert found in error.value.found
    assert fix in error.value.fix


def test_subtracted_neuropil_goes_on_as_the_refusal_says(tmp_path):
    made = recording("GCaMP6f", fluorescence=TRACES, corrected=TRACES)
    load_chain("traces", ["dff.input=corrected"]).check(made)


def test_cells_of_a_one_photon_movie_have_no_baseline_to_divide_by():
    made = recording("GCaMP6f", fluorescence=TRACES)
    made["fluorescence"].attrs["made_by"] = "one_photon"
    name, why = default_chain(made)
    assert name == "one-photon" and "no baseline" in why
    load_chain(name).check(made)
