"""What a session pipeline finds out of its movies, what it asks, and what it leaves out."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

from neurodyn.core.errors import ConfigError, DataError, UnknownNameError
from neurodyn.data.recording import Recording
from neurodyn.workflow.pipeline import Found, Plan, load_pipeline, plan
from neurodyn.workflow.session import look, targets

TRIALS = "start,stop,direction,trial\n" + "".join(f"{k / 2},{k / 2 + 0.2},{90 * (k % 2)},{k}\n" for k in range(1, 17))


def movie(folder: Path, name: str = "m.tif") -> Path:
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / name, np.random.default_rng(0).integers(0, 99, (90, 20, 20), dtype=np.uint16))
    return folder / name


def planned(name: str, inputs: list[Path], **source: object) -> tuple[Plan, dict[Path, Found]]:
    settings = {key: source.pop(key) for key in ("target", "days") if key in source}
    spec, _ = load_pipeline(name, told={"source": {"fs": 10.0} | source, "settings": settings})
    found = look(spec, inputs)
    return plan(spec, inputs, found), found


def rules(made: Plan) -> list[str]:
    return [job.rule for job in made.jobs]


def test_a_stimulus_brings_responses_and_decoding_of_the_column_that_varies(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text(TRIALS)
    made, _ = planned("session", [movie(tmp_path)], stimulus={"file": "trials.csv"}, indicator="GCaMP6f")
    assert rules(made) == ["recording", "cells", "signals", "responses", "decoding", "report"]
    jobs = {job.rule: job for job in made.jobs}
    assert jobs["decoding"].argv[-2:] == ("--target", "direction")
    assert jobs["report"].argv[1:4] == ("m/clean.zarr", "m/responses", "m/decoding")
    assert made.configs["recording_m"]["source"]["stimulus"] == {"file": "trials.csv"} and not made.left_out


def test_what_is_missing_is_left_out_with_a_word(tmp_path: Path) -> None:
    made, found = planned("session", [movie(tmp_path)])
    assert rules(made) == ["recording", "cells", "signals", "report"]
    assert made.left_out == dict.fromkeys(("responses_m", "decoding_m"), "no stimulus (--stimulus FILE)")
    (only,) = found.values()
    assert "--indicator" in only.lacks["indicator"]


def test_too_few_trials_are_not_decoded_but_shown(tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("\n".join(TRIALS.splitlines()[:5]))
    made, _ = planned("session", [movie(tmp_path)], stimulus={"file": "few.csv"})
    assert rules(made) == ["recording", "cells", "signals", "responses", "report"]
    assert "too few trials" in made.left_out["decoding_m"] and "--folds" in made.left_out["decoding_m"]


def test_every_movie_has_its_own_log_or_goes_without(tmp_path: Path) -> None:
    movies = [movie(tmp_path / day) for day in ("one", "two")]
    (tmp_path / "one" / "m.csv").write_text(TRIALS)
    made, _ = planned("session", movies, stimulus={"file": "{stem}.csv"}, days=True)
    assert [job.name for job in made.jobs if job.rule == "decoding"] == ["decoding_one_m"]
    assert "m.csv" in made.left_out["decoding_two_m"]
    assert made.configs["recording_two_m"]["source"] == {"fs": 10.0, "session": "two-m"}
    assert made.jobs[-1].argv[:3] == ("match", "one-m/clean.zarr", "two-m/clean.zarr")
    with pytest.raises(ConfigError, match="nothing to match"):
        planned("session", movies[:1], days=True)
    with pytest.raises(DataError, match="No movie has a stimulus log"):
        planned("session", movies, stimulus={"file": "{folder}/typo.csv"})


def test_what_the_movie_does_not_say_is_asked_with_what_to_type(tmp_path: Path) -> None:
    path = movie(tmp_path)
    with pytest.raises(DataError) as refused:
        planned("session", [path], fs=None)
    assert "--fs HZ" in refused.value.fix
    (tmp_path / "two.csv").write_text("start,stop,a,b\n1,2,0,1\n3,4,1,0\n5,6,0,0\n7,8,1,1\n")
    with pytest.raises(ConfigError) as several:
        planned("session", [path], stimulus={"file": "two.csv"})
    assert several.value.fix == "Name one: --target a"
    assert planned("session", [path], stimulus={"file": "two.csv"}, target="b")[1][path].settings["target"] == "b"
    with pytest.raises(UnknownNameError, match="c"):
        planned("session", [path], stimulus={"file": "two.csv"}, target="c")


def test_a_movie_of_another_kind_is_sent_to_its_own_pipeline(tmp_path: Path) -> None:
    path = movie(tmp_path)
    two = {"channels": ["fluorescence", "reference"]}
    with pytest.raises(DataError) as refused:
        planned("session", [path], **two)
    assert refused.value.fix == f"Type: neurodyn run session-widefield {path}"
    made, _ = planned("session-widefield", [path], **two)
    assert "--chain widefield " in " ".join(made.jobs[1].argv) + " "
    assert "widefield-mean" in planned("session-widefield", [path])[0].jobs[1].argv
    traces = Recording.from_arrays({"dff": np.zeros((40, 3))}, rate_hz=10).save(tmp_path / "t.zarr")
    with pytest.raises(DataError, match="no movie"):
        planned("session", [traces], fs=None)


def test_columns_that_come_again_can_be_decoded() -> None:
    stimulus = {
        "start": [1, 2, 3, 4],
        "stop": [1, 2, 3, 4],
        "same": [1] * 4,
        "trial": [1, 2, 3, 4],
        "side": list("lrlr"),
    }
    recording = Recording.from_arrays({"dff": np.zeros((90, 2))}, rate_hz=10, stimulus=stimulus)
    assert targets(recording) == ["side"]


def test_settings_are_the_pipelines_own(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="setting"):
        load_pipeline("session", ["settings.targt=x"])
    with pytest.raises(ConfigError, match="takes nothing on how files are read"):
        load_pipeline("demo", told={"source": {"fs": 10}})
    jobs = {
        "a": {"command": ["simulate", "widefield"], "out": "a.zarr"},
        "b": {"command": ["respond", "@a"], "when": ["more"], "out": "b"},
        "c": {"command": ["report", "@a", "@b?"], "options": {"published": "{table}"}, "out": "c.html"},
    }
    settings = {"more": None, "table": None}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"description": "x", "settings": settings, "jobs": jobs}))

    def made(*sets: str) -> Plan:
        return plan(load_pipeline(str(tmp_path / "p.yaml"), sets)[0])

    assert made().jobs[-1].argv == ("report", "a.zarr", "-o", "c.html") and made().left_out == {"b": "no more (--more)"}
    assert made("settings.more=false").left_out == {} and rules(made("settings.more=false")) == ["a", "c"]
    assert made("settings.more=1", "settings.table=t").jobs[-1].argv[2:] == ("b", "-o", "c.html", "--published", "t")
