"""What decoders guessed is kept, read back, and shown for the best rows."""

from dataclasses import replace

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.circle import Circle
from neurodyn.data.guesses import Guesses, read_guesses, write_guesses
from neurodyn.data.scores import Score
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import cross_validate
from neurodyn.decode.settings import Protocol
from neurodyn.report.decoding import decoding_section


def labels(task: str, target: np.ndarray) -> Labels:
    sizes = np.arange(len(target))
    return Labels(target, sizes, sizes * 2.0, task, name="angle", session="m1", circle=Circle(180.0, 180.0))


def features(target: np.ndarray, noise: float) -> np.ndarray:
    turn = 2 * np.pi * target / 180
    return np.stack([np.cos(turn), np.sin(turn)], 1) + noise * np.random.default_rng(0).normal(size=(len(target), 2))


TARGET = np.tile([0.0, 45.0, 90.0, 135.0], 20)


@pytest.mark.parametrize(("task", "decoder"), [("classify", "lda"), ("regress", "ridge"), ("circular", "ridge")])
def test_guesses_are_those_that_were_scored_in_the_targets_unit(tmp_path, task, decoder):
    target = TARGET.astype(int).astype(str) if task == "classify" else TARGET
    rows = {"clear": features(TARGET, 0.1), "dim": features(TARGET, 2.0)}
    found = cross_validate(rows, labels(task, target), decoder=decoder, protocol=Protocol(split="trial", shuffles=5))
    (back,) = read_guesses(write_guesses(tmp_path / "guesses.csv", [found.guesses]))
    assert list(back.guessed) == ["clear", "dim"]
    np.testing.assert_array_equal(back.true, target)
    np.testing.assert_array_equal(back.times, 2.0 * np.arange(80))
    scores = {(s.features, s.metric): s.value for s in found.scores if s.fold == "all"}
    for name, guessed in back.guessed.items():
        if task == "classify":
            assert (guessed == back.true).mean() == pytest.approx(scores[name, "accuracy"])
        elif task == "regress":
            assert ((guessed - back.true) ** 2).mean() == pytest.approx(scores[name, "mse"], rel=1e-4)
        else:
            apart = np.abs((guessed - back.true + 90) % 180 - 90)
            assert apart.mean() == pytest.approx(scores[name, "error, deg"], rel=1e-4)
            assert back.period == 180


def pooled(name: str, value: float, model: str = "none", **rest) -> Score:
    told = {"session": "m1", "split": "trial", "target": "angle", "metric": "accuracy", "unit": "trials", "seed": 0}
    return Score(model=model, value=value, features=name, decoder="lda", **told, **rest)


def table(**guessed) -> Guesses:
    return Guesses(
        "m1", "angle", "classify", "lda", "trial", np.arange(4), np.arange(4.0), np.array([*"aabb"]), guessed
    )


def captions(scores, guesses) -> list[str]:
    section = decoding_section(scores, guesses)
    return [block.caption for block in section.blocks if "guessed as each class" in getattr(block, "caption", "")]


def test_the_best_row_of_the_signal_and_of_the_model_are_shown():
    said = table(raw=np.array([*"abab"]), other=np.array([*"aabb"]), latents=np.array([*"aaab"]))
    rows = [pooled("raw", 0.5), pooled("other", 1.0), pooled("latents", 0.75, "cst")]
    (caption,) = captions(rows, [said])
    assert "Shown: other and latents (cst)" in caption
    assert not captions(rows, [replace(said, session="m2")])
    assert not captions([replace(row, split="random") for row in rows], [replace(said, split="random")])  # it leaks


def test_decodings_of_two_kinds_stand_in_one_table():
    rows = [
        pooled("raw", 0.5, note="as classes"),
        replace(pooled("raw", 0.2, note="a circle"), metric="mean cosine", decoder="ridge"),
    ]
    (shown,) = [block for block in decoding_section(rows).blocks if hasattr(block, "header")]
    assert [row[2] for row in shown.rows] == ["lda", "ridge"]


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "guesses.csv"
    path.write_text("session,value\nm1,3\n")
    with pytest.raises(DataError, match="not a table of guesses"):
        read_guesses(path)
