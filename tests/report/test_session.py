"""A recording, its responses and its decoding are told in one part, the picture of all three first."""

import numpy as np
import pytest

from neurodyn.core.files import write_json
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score, write_scores
from neurodyn.report.glance import chosen, glance_section
from neurodyn.report.glance_movie import movie_section
from neurodyn.report.session import session_part
from neurodyn.respond.output import open_responses, write_responses
from neurodyn.respond.settings import RespondConfig
from neurodyn.simulate.tuned import Tuned
from tests.report.test_cells import recorded

FAST = RespondConfig(target="direction", shuffles=19, bootstraps=100, splits=2)


@pytest.fixture
def made(tmp_path, unsaved):
    """Return a recording, its responses, and scores of its decoding."""
    recording = recorded(faults=False, indicator="GCaMP6f").save(tmp_path / "clean.zarr")
    scores = [Score(session="m1", model="none", seed=0, split="blocked", target="direction", metric="mean cosine", fold="all",
                    value=0.5, ci_low=0.4, ci_high=0.6, null_mean=0.0, p=0.01, n=16, unit="trials")]  # fmt: skip
    decoding = tmp_path / "decoding"
    write_scores(decoding / "scores.csv", scores)
    write_json(decoding / "decode.json", {"sessions": [{"session": "m1"}], "config": {}, "protocols": []})
    return [recording, write_responses(recording, FAST, tmp_path / "responses"), decoding]


def test_pictures_come_first_and_what_is_looked_up_last(made):
    part = session_part(made)
    titles = [section.title.partition(":")[0] for section in part.sections]
    assert titles[:5] == ["At a glance", "Cells", "Signals", "Responses", "Decoding"] and titles[5:] == [
        "Data",
        "Quality",
    ]
    assert (part.title, part.subtitle, part.missing) == ("m1", "Session", [])
    assert any("cells respond" in sentence for sentence in part.summary)


def test_what_is_not_there_is_named_with_what_makes_it(made):
    (line, decoding) = session_part(made[:1]).missing
    assert line == f"Responses: not asked for. Make them: neurodyn respond {made[0]}" and "neurodyn decode" in decoding
    full = recorded()
    groups = {name: full.table(name) for name in ("rois", "qc")}
    bare = Recording.from_arrays({"dff": full["dff"].values}, rate_hz=10, session="m1", **groups)
    bare = bare.save(made[0].with_name("bare.zarr"))
    assert ["no stimulus" in line for line in session_part([bare]).missing] == [True, False]


def test_other_sessions_stay_apart(made):
    write_json(made[2] / "decode.json", {"sessions": [{"session": "m2"}], "config": {}, "protocols": []})
    assert session_part(made) is None and session_part([made[0], made[0].parent]) is None


def test_the_glance_shows_the_best_cell_first(made):
    found = open_responses(made[1])
    words = glance_section(recorded(faults=False), found).blocks[0].caption
    assert "the best cell first" in words and "Right:" in words
    assert "Right:" not in glance_section(recorded(faults=False), None).blocks[0].caption
    assert chosen(np.array([1.0, np.nan, 9.0, 5.0]), 0) == [0, 2, 3, 1]


@pytest.mark.parametrize(("target", "words"), [("direction", "largest mean response"), (None, "standard deviation")])
def test_a_movie_has_a_glance_of_its_own(target, words, tmp_path):
    cells = Tuned(Tuned.Params(cells=12, repeats=6, seed=1)).make()
    movie = cells["dff"].values.reshape(-1, 3, 4)
    recording = Recording.from_arrays(
        {"dff": movie}, rate_hz=cells.rate_hz, session="m1", stimulus=dict(cells.stimulus.data_vars)
    )
    made = [recording.save(tmp_path / "a.zarr")]
    made += [write_responses(made[0], FAST, tmp_path / "responses")] if target else []
    section = session_part(made).sections[0]
    assert section.title == "At a glance" and words in section.blocks[0].caption
    assert ("mean courses of all conditions" in section.blocks[0].caption) is (target is not None)


def test_a_movie_without_any_value_has_none():
    empty = Recording.from_arrays({"dff": np.full((50, 3, 4), np.nan, np.float32)}, rate_hz=10, session="m1")
    assert movie_section(empty, None) is None
