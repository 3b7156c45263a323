"""What was done to a recording is told in whole sentences, with its source."""

from __future__ import annotations

import numpy as np
import pytest

from neurodyn.data.recording import Recording, entry
from neurodyn.report.history import history_sentences
from neurodyn.report.page import report
from neurodyn.simulate import SIMULATORS

PACHITARIU = "Pachitariu et al., Suite2p"


def told(*steps):
    made = Recording.from_arrays({"dff": np.zeros((9, 2))}, rate_hz=10, history=list(steps))
    return history_sentences(made)


ASKED = {
    "settings": {},
    "preset": "fast",
    "cells_only": True,
    "variable": "fluorescence",
    "tau": 0.7,
    "suite2p": "1.1.0",
    "counts_per_step": 1.0,
}


def test_extraction_says_what_suite2p_did_and_cites_it():
    (sentence,) = told(entry("suite2p", ASKED))
    assert sentence.text == (
        "The movie 'fluorescence' was registered rigidly and searched for ROIs by suite2p 1.1.0 (preset fast, decay time "
        "constant 0.7 s); those that its built-in classifier calls cells were kept, each with its fluorescence and that "
        "of the neuropil around it."
    )
    assert sentence.sources[0].startswith(PACHITARIU)


def test_extraction_says_what_was_changed():
    changed = {"detection": {"threshold_scaling": 0.5}, "diameter": [8, 8], "run": {"do_registration": 0}}
    (sentence,) = told(entry("suite2p", ASKED | {"settings": changed, "cells_only": False}))
    assert "was not registered and searched" in sentence.text
    assert "all of them were kept" in sentence.text
    assert "detection.threshold_scaling 0.5; diameter 8 and 8; run.do_registration 0." in sentence.text
    (sentence,) = told(entry("suite2p", ASKED | {"block_size": [128, 128]}))
    assert "rigidly and in blocks of 128 × 128 pixels, and" in sentence.text


def test_extraction_says_by_what_cells_were_found_and_how_large_they_are():
    size = {"diameter_px": 10.8, "diameter_from": "estimated from the movie's pictures"}
    (sentence,) = told(entry("suite2p", ASKED | size | {"cells": "both"}))
    assert "searched for cells of 10.8 pixels (estimated from the movie's pictures) by suite2p 1.1.0" in sentence.text
    assert "and all somata that stand out of their surround in the mean image, each with" in sentence.text
    (sentence,) = told(entry("suite2p", ASKED | size | {"cells": "anatomy"}))
    assert "by their shape; somata that" in sentence.text
    (sentence,) = told(entry("suite2p", ASKED | {"cells": "given"}))
    assert "and the traces of ROIs from a file were taken by suite2p 1.1.0, each with" in sentence.text


def test_one_photon_extraction_says_how_and_cites_its_source():
    (sentence,) = told(entry("one_photon", {"diameter_px": 12.0, "diameter_from": "told", "suite2p": "1.1.0"}))
    assert "cells 12 pixels wide (told) were seeded where the peak-to-noise ratio has maxima" in sentence.text
    assert sentence.sources[0].startswith("Zhou et al.")


@pytest.mark.usefixtures("unsaved")
def test_the_report_after_an_extraction_lists_suite2p(tmp_path):
    traces = np.random.default_rng(0).normal(100, 1, (90, 3))
    made = Recording.from_arrays(
        {"fluorescence": traces, "neuropil": traces},
        rate_hz=10,
        history=[entry("read tiff", {}), entry("suite2p", ASKED)],
    )
    page = report([made.save(tmp_path / "rois.zarr")], tmp_path / "report.html").read_text(encoding="utf-8")
    assert f'<li id="ref-1">{PACHITARIU}' in page
    assert 'of the neuropil around it&nbsp;[<a href="#ref-1">1</a>].' in page


CASES = [
    (
        entry("read tiff", {"fs": 15, "channels": ["fluorescence", "reference"], "brain": "mask.tif", "bin": 2}),
        "The recording was read from a tiff source (at 15 frames per second, as told; interleaved channels taken in the "
        "order fluorescence, reference; pixels outside a mask of the brain left out; pixels averaged over squares of "
        "2 × 2).",
    ),
    (entry("read allen", {}), "The recording was read from an allen source."),
    (
        entry("stimulus", {"file": "/data/rig/log.csv", "unit": "ms", "offset": -0.5}),
        "Stimulus events were read from the file log.csv, times in milliseconds, moved by -0.5 s.",
    ),
    (entry("stimulus", {"onsets": {"key": "pd"}}), "Stimulus onsets were taken from a recorded signal."),
    (entry("behavior", {"key": "speed"}), "Behaviour was read from the source, one sample per frame."),
    (
        entry("holes", {"gaps": True, "reject": [[1, 2]], "pixels": None}),
        "Marked as missing: frames that the clock says were dropped, 1 rejected stretches of time, what was not finite.",
    ),
    (entry("impute", {"model": "svd"}), "What was missing was filled in by 'svd', without training."),
    (
        entry("impute", {"run": "/a/b/runs/climanet"}),
        "What was missing was filled in by the trained model of the run climanet.",
    ),
    (
        entry("curate", {"dropped": ["4"], "merged": {"1": ["1", "2"], "5": ["5", "6", "7"]}, "undecided": "keep"}),
        "Cells were looked through by hand: 1 were dropped, and 5 merged into 2.",
    ),
    (entry("rois", {"rows": [3, 4]}), "2 ROIs were kept, chosen by their cells' ids."),
    (entry("simulate widefield", {"seed": 3, "trials": 9}), "The data were simulated by the generator 'widefield' from random seed 3."),
    (
        entry("a lab's own", {"alpha": {"deep": 1}}),
        "The step 'a lab's own' was applied; its settings stand in the recording's history.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("step", "sentence"), CASES)
def test_every_entry_is_a_sentence(step, sentence):
    (found,) = told(step)
    assert found.text == sentence
    assert "{" not in found.text


def test_simulators_are_cited():
    (found,) = told(entry("simulate lorenz", {"seed": 0}))
    assert list(found.sources) == [SIMULATORS.get("lorenz").citation]


def test_what_a_step_had_to_change_is_told():
    params = {"input": "fluorescence", "method": "maximin", "window": 49.9}
    note = "The baseline's window of 60 s (601 frames) does not fit the recording (500 frames) and was shortened to 49.9 s."
    (found,) = told(entry("dff", params) | {"note": note})
    assert found.text.endswith(f". {note}")
    assert found.sources[0].startswith(PACHITARIU)


def test_matching_by_pictures_is_told_with_its_source():
    step = {"sessions": ["a", "b"], "reference": "a", "model": "footprints", "false_positives": 0.021}
    (sentence,) = told(entry("match", step))
    assert "2 sessions were aligned" in sentence.text and "2.1% are expected to be false" in sentence.text
    assert sentence.sources[0].startswith("Sheintuch")
