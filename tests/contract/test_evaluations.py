"""Every registered evaluation honours the contract."""

import csv
import json
from dataclasses import fields

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import uniform_filter1d

from neurodyn.core.config import build
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score, read_scores
from neurodyn.evaluate import DEFAULT, EVALUATIONS
from neurodyn.evaluate.run import evaluate
from neurodyn.report import FIGURES
from neurodyn.report.evaluation import evaluation_part
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams
from tests.decode.runs import make_forecast, make_run, repeated_responses, simulated
from tests.evaluate.recordings import disk, with_rois, with_spikes
from tests.evaluate.test_cosmoothing import quick_run
from tests.training.conftest import curves, curves_run

__all__ = ["curves", "curves_run"]
NAMES = EVALUATIONS.names()
OF_CURVES = {"frames", "interpolation", "attention", "imputation", "cost"}
SETTINGS = {
    "spikes": {"bootstraps": 100},
    "latents": {"bootstraps": 100},
    "frames": {"bootstraps": 100},
    "interpolation": {"bootstraps": 100},
    "attention": {"bootstraps": 100, "extra": 5},
    "imputation": {"bootstraps": 100, "size": (1, 1)},
    "denoising": {"bootstraps": 100},
    "cosmoothing": {"bootstraps": 100, "groups": 3},
    "cost": {"bootstraps": 100, "steps": 2, "vary": "dummies", "values": (0, 2)},
    "forecast": {"bootstraps": 100},
    "responses": {"bootstraps": 100, "shuffles": 19},
}


def classified(folder):
    """Return a run whose log-odds are right more often than not."""
    run = make_forecast(folder / "forecast", [repeated_responses(folder)], lambda came: came)
    prediction = xr.open_zarr(run / "prediction.zarr", consolidated=False).load()
    rng = np.random.default_rng(0)
    answers = rng.integers(2, size=(prediction.sizes["window"], prediction.sizes["roi"])).astype(float)
    odds = answers - 0.5 + rng.normal(size=answers.shape)
    both = {name: (("window", "roi"), values) for name, values in (("logits", odds), ("responses", answers))}
    made = prediction.drop_encoding().assign(part=prediction["part"].astype(object), **both)
    made.to_zarr(run / "prediction.zarr", mode="w", zarr_format=3, consolidated=False, write_empty_chunks=True)
    return run


def smoothed(folder):
    """Return a simulated movie after a running mean that says it denoised it."""
    params = TwoPhotonParams(movie=True, height=16, width=16, cells=3, directions=2, repeats=1)
    raw = TwoPhoton(params).make()
    path = raw.save(folder / "raw.zarr")
    mean = uniform_filter1d(raw["fluorescence"].values.astype(np.float32), 5, axis=0)
    neural = xr.Dataset({"fluorescence": (("time", "y", "x"), mean, raw["fluorescence"].attrs)}, raw.neural.coords)
    told = {"step": "denoise", "params": {"recording": str(path)}, "version": "0"}
    return raw.with_groups({"neural": neural}, step=told).save(folder / "smoothed.zarr")


MAKERS = {
    "cosmoothing": lambda folder: quick_run(folder, simulated(folder)),
    "denoising": smoothed,
    "spikes": lambda folder: with_spikes(folder / "cells.zarr", 0),
    "rois": lambda folder: with_rois(folder / "found.zarr", [disk(10, 10), disk(30, 30)]),
    "latents": lambda folder: make_run(folder / "run", simulated(folder)),
    "rotations": lambda folder: simulated(folder, "rotations", cells=10),
    "forecast": lambda folder: make_forecast(folder / "run", [repeated_responses(folder)], lambda came: 0.5 * came),
    "responses": classified,
}


@pytest.fixture(scope="module")
def regions(tmp_path_factory):
    return with_rois(tmp_path_factory.mktemp("marked") / "true.zarr", [disk(10, 10), disk(10, 30)])


def asked(name, regions):
    kind = EVALUATIONS.get(name)
    given = {"regions": regions} if name == "rois" else SETTINGS.get(name, {})
    return kind(build(kind.Config, given, "test"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory, request, regions):
    """Return a function that scores a small source, once per evaluation, and returns the folder of its table."""
    made = {}

    def table(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            source = request.getfixturevalue("curves_run") if name in OF_CURVES else MAKERS[name](folder)
            made[name] = evaluate(asked(name, regions), [source], folder / "scores").parent
        return made[name]

    return table


def test_every_evaluation_is_tried_here():
    assert set(EVALUATIONS.own) == OF_CURVES | set(MAKERS)
    assert DEFAULT in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_is_named_and_summed_up(name):
    kind = EVALUATIONS.get(name)
    assert kind.name == name
    assert EVALUATIONS.summary(name)
    assert kind.takes in ("runs", "recordings")
    assert not kind.figure or kind.figure in FIGURES.names()


@pytest.mark.parametrize("name", NAMES)
def test_settings_have_defaults_and_descriptions(name):
    kind = EVALUATIONS.get(name)
    build(kind.Config, {}, "test")
    assert all(field.description for field in kind.Config.model_fields.values())


@pytest.mark.parametrize("name", NAMES)
def test_writes_a_table_of_scores_and_a_record(name, tables):
    folder = tables(name)
    with (folder / "scores.csv").open(encoding="utf-8") as handle:
        assert next(csv.reader(handle)) == [field.name for field in fields(Score)]
    pooled = [score for score in read_scores(folder / "scores.csv") if score.fold == "all"]
    assert pooled and all(np.isfinite(score.value) or score.note for score in pooled)
    assert all(score.unit and score.metric and score.session for score in pooled)
    known = [score for score in pooled if np.isfinite(score.ci_low)]
    assert all(score.ci_low <= score.ci_high for score in known)
    record = json.loads((folder / "evaluate.json").read_text(encoding="utf-8"))
    assert record["metric"] == name and record["recordings"] and record["version"]
    assert set(record["config"]) == set(EVALUATIONS.get(name).Config.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_score_is_refused_with_what_it_needs(name, regions, tmp_path):
    start = np.arange(1.0, 9.0)
    stimulus = {"start": start, "stop": start + 0.5, "part": np.resize(np.array(["train", "valid"], object), 8)}
    plain = Recording.from_arrays({"dff": np.zeros((100, 3), np.float32)}, rate_hz=10, stimulus=stimulus)
    with pytest.raises((DataError, ConfigError)) as refused:
        evaluate(asked(name, regions), [plain.save(tmp_path / "plain.zarr")], tmp_path / "scores")
    assert "xpected" in refused.value.found or "neurodyn " in refused.value.fix
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("name", NAMES)
def test_its_page_has_a_figure(name, tables):
    folder = tables(name)
    record = json.loads((folder / "evaluate.json").read_text(encoding="utf-8"))
    part = evaluation_part(name, read_scores(folder / "scores.csv"), record)
    kinds = [block.kind for section in part.sections for block in section.blocks]
    assert {"figure", "table"} <= set(kinds)
    assert part.title == name and part.methods
