"""The page of responses: population, heat map and single cells, of stimuli, behaviour and movies."""

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.report.encoding import shown_cells as encoding_cells
from neurodyn.report.page import report
from neurodyn.report.response_cells import shown_cells
from neurodyn.report.responses import heat_figure, sorted_cells
from neurodyn.respond.output import open_responses, write_responses
from neurodyn.respond.population import reading
from neurodyn.respond.settings import RespondConfig
from neurodyn.simulate.tuned import Tuned
from tests.report.test_page import Page
from tests.respond.test_encoding import made

FAST = {"shuffles": 99, "bootstraps": 100, "splits": 5}


def written(folder, recording, **settings):
    path = recording.save(folder / "a.zarr")
    return write_responses(path, RespondConfig(**FAST, **settings), folder / "out")


@pytest.mark.parametrize(
    ("to", "target", "words"),
    [
        ("direction", "direction", ["cells are tuned", "DSI", "Mazurek", "every trial"]),
        ("position", "position", ["mean of all frames of a bin", "shifts of the behaviour"]),
    ],
)
def test_the_page_tells_population_cells_and_methods(to, target, words, tmp_path):
    recording = Tuned(Tuned.Params(to=to, cells=8, repeats=8, seed=1)).make()
    html = report([written(tmp_path, recording, target=target)], tmp_path / "a.html").read_text(encoding="utf-8")
    text = Page(html).words
    assert not [word for word in [*words, "Benjamini"] if word not in text]
    assert html.count("data:image") == 3


def test_events_alone_have_a_course(tmp_path):
    found = open_responses(written(tmp_path, Tuned(Tuned.Params(cells=8, repeats=4, seed=1)).make()))
    assert "mean course" in heat_figure(found).caption
    assert "Order of conditions" not in " ".join(reading(found))


@pytest.mark.parametrize("target", ["direction", "position"])
def test_a_cell_without_data_has_an_empty_row(target, tmp_path):
    recording = Tuned(Tuned.Params(to=target, cells=8, repeats=6, seed=1)).make()
    recording.neural["dff"].values[:, 3] = np.nan
    found = open_responses(written(tmp_path, recording, target=target))
    assert "All 8 cells" in heat_figure(found).caption  # a warning of numpy's would be an error here
    assert "All 2400 cells" in heat_figure(found.isel(roi=np.resize(np.arange(8), 2400))).caption


def test_movies_have_maps(tmp_path):
    cells = Tuned(Tuned.Params(cells=12, repeats=6, seed=1)).make()
    movie = cells["dff"].values.reshape(-1, 3, 4)
    told = dict(cells.stimulus.data_vars)
    recording = Recording.from_arrays({"dff": movie}, rate_hz=cells.rate_hz, stimulus=told)
    html = report([written(tmp_path, recording, target="direction")], tmp_path / "a.html").read_text(encoding="utf-8")
    assert "pixels are tuned" in Page(html).words and html.count("data:image") == 2


def test_cells_are_sorted_by_what_they_prefer_and_untuned_ones_come_last(tmp_path):
    recording = Tuned(Tuned.Params(cells=20, repeats=8, seed=2)).make()
    found = open_responses(written(tmp_path, recording, target="direction"))
    order = sorted_cells(found)
    tuned = found["tuned"].values[order]
    assert (np.diff(tuned.astype(int)) <= 0).all()
    assert (np.diff(found["preferred"].values[order][tuned]) >= 0).all()
    best = [cell for word, cell in shown_cells(found) if word == "best"]
    reliability = found["reliability"].values
    assert reliability[best[0]] == reliability[found["tuned"].values].max()
    assert "Above the line" in heat_figure(found).caption


def test_encoding_models_have_contributions_kernels_and_methods(tmp_path):
    recording = made(cells=6, minutes=4)
    path = recording.save(tmp_path / "a.zarr")
    config = RespondConfig(glm="direction,speed", shuffles=99)
    html = report([write_responses(path, config, tmp_path / "out")], tmp_path / "a.html").read_text(encoding="utf-8")
    text = Page(html).words
    assert not [
        word for word in ["encode direction", "Held out", "Musall", "Benjamini", "no other tells"] if word not in text
    ]
    assert html.count("data:image") == 2
    found = open_responses(tmp_path / "out")
    shown = dict(encoding_cells(found))
    unique = found["unique"].values[1]
    assert unique[shown["best of speed"]] == unique.max() and shown["best of direction"] in (0, 1)


def test_encoding_models_of_a_movie_are_maps(tmp_path):
    cells = made(cells=6, minutes=4)
    told = {"rate_hz": cells.rate_hz, "stimulus": dict(cells.stimulus.data_vars), "behavior": cells.table("behavior")}
    movie = Recording.from_arrays({"dff": cells["dff"].values.reshape(-1, 2, 3).astype(np.float32)}, **told)
    path = movie.save(tmp_path / "a.zarr")
    folder = write_responses(path, RespondConfig(glm="direction,speed", shuffles=99), tmp_path / "out")
    html = report([folder], tmp_path / "a.html").read_text(encoding="utf-8")
    assert "pixels encode speed" in Page(html).words and html.count("data:image") == 1
