"""What a target is taken for, by its name and its values."""

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError
from neurodyn.data.circle import Circle
from neurodyn.data.columns import Column, zero_is_nothing
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.tasks import choose_task

CODES = np.tile(np.arange(10), 6)
STEPS = np.tile(np.arange(0, 360, 45), 4)
IDS = np.tile([3, 17, 42, 105, 230, 231, 400, 512, 513, 600, 777, 901, 1000, 1400], 3)


@pytest.mark.parametrize(
    ("name", "values", "task"),
    [
        ("image", CODES, "classify"),
        ("image", CODES.astype(float), "classify"),
        ("image_id", np.arange(60), "classify"),
        ("Stimuli", CODES, "classify"),
        ("odor", np.tile([1, 2], 9), "classify"),
        ("odor_concentration", np.tile([1, 2], 9), "regress"),
        ("concentration_index", np.tile([1, 2], 9), "classify"),
        ("frame", np.tile(np.arange(-1, 118), 3), "classify"),
        ("image_contrast", CODES, "regress"),
        ("temporal_frequency", np.tile([1, 2, 4, 8, 15], 9), "regress"),
        ("speed", np.tile([5, 10], 20), "regress"),
        ("reward", np.tile([0, 1, 2], 20), "regress"),
        ("wurble", CODES, "classify"),
        ("wurble", np.tile(np.arange(10), 2), "regress"),
        ("wurble", np.tile(np.arange(13), 6), "regress"),
        ("wurble", np.tile(np.arange(10), 6) / 2, "regress"),
        (
            "wurble",
            np.tile([1000, 1189, 1414, 1682, 2000, 2378, 2828, 3364, 4000, 4757, 5657, 6727, 8000], 4),
            "regress",
        ),
        ("wurble", IDS, "classify"),
        ("image", np.linspace(0, 1, 60), "regress"),
        ("choice", np.tile(["left", "right"], 5), "classify"),
        ("direction", np.tile(["left", "right"], 5), "classify"),
        ("direction", np.tile([-1, 1], 5), "classify"),
        ("direction", np.tile(np.arange(1, 9), 5), "classify"),
        ("direction", STEPS, "circular"),
        ("direction_class", STEPS, "classify"),
    ],
)
def test_name_and_values_decide(name, values, task):
    assert choose_task(Column(name, values), DecodeConfig()).task == task


@pytest.mark.parametrize(
    ("name", "values", "more", "circle"),
    [
        ("direction", STEPS, {}, (360, 360)),
        ("stimDirection_deg", STEPS.astype(float), {}, (360, 360)),
        ("direction", STEPS % 180, {"modulo": 180.0}, (180, 180)),
        ("direction", np.deg2rad(STEPS), {}, (2 * np.pi, 360)),
        ("direction", np.deg2rad(STEPS) % np.pi, {"modulo": np.pi}, (np.pi, 180)),
        ("orientation", STEPS % 180, {}, (180, 180)),
        ("orientation", np.deg2rad(STEPS % 180), {}, (np.pi, 180)),
        ("orientation", STEPS, {}, (360, 360)),
        ("angle", STEPS % 180, {}, (180, 180)),
        ("angle", STEPS, {}, (360, 360)),
        ("phase", np.tile([0, 0.25, 0.5, 0.75], 6), {}, (1, 360)),
        ("phase", np.linspace(-np.pi, np.pi, 50), {}, (2 * np.pi, 360)),
        ("phase", np.tile([0, 90, 180, 270], 6), {}, (360, 360)),
        ("heading", np.linspace(0, 359.7, 500), {}, (360, 360)),
        ("heading", np.tile([1, 2, 3], 4), {"units": "rad"}, (2 * np.pi, 360)),
        ("wurble", STEPS, {"units": "degrees"}, (360, 360)),
    ],
)
def test_a_circle_has_the_period_of_its_name_and_unit(name, values, more, circle):
    choice = choose_task(Column(name, values, **more), DecodeConfig())
    assert choice.task == "circular"
    assert (choice.circle.period, choice.circle.degrees) == pytest.approx(circle)


def test_radians_of_orientations_are_doubled_and_come_back():
    circle = Circle(180, 180)
    assert circle.radians(np.array([0, 45, 90, 180])) == pytest.approx([0, np.pi / 2, np.pi, 0])
    assert circle.values(circle.radians(np.array([10.0, 170.0]))) == pytest.approx([10, 170])


@pytest.mark.parametrize(
    ("settings", "name", "values", "task"),
    [
        ({"task": "regress"}, "image", CODES, "regress"),
        ({"task": "classify"}, "direction", STEPS, "classify"),
        ({"decoder": "lda"}, "contrast", CODES, "classify"),
        ({"decoder": "ridge"}, "image", CODES, "regress"),
        ({"decoder": "ridge"}, "direction", STEPS, "circular"),
        ({"decoder": "gru"}, "direction", STEPS, "classify"),
        ({"period": 24.0}, "hour", np.tile(np.arange(24), 2), "circular"),
    ],
)
def test_what_is_asked_for_comes_first(settings, name, values, task):
    assert choose_task(Column(name, values), DecodeConfig(**settings)).task == task


@pytest.mark.parametrize(
    ("settings", "name", "values", "message"),
    [
        ({"task": "circular"}, "image", CODES, "period"),
        ({"task": "regress"}, "scene", np.array(["fox", "owl"]), "names, not numbers"),
        ({"decoder": "ridge"}, "scene", np.array(["fox", "owl"]), "names, not numbers"),
    ],
)
def test_what_cannot_be_is_refused(settings, name, values, message):
    with pytest.raises(ConfigError, match=message):
        choose_task(Column(name, values), DecodeConfig(**settings))


@pytest.mark.parametrize(
    ("settings", "column", "sentence"),
    [
        (
            {},
            Column("image", CODES),
            "image: 10 integer codes, 6 trials each: classes (lda). As a quantity: --set task=regress",
        ),
        (
            {"decoder": "lda"},
            Column("image", CODES),
            "image: 10 integer codes, 6 trials each: classes (lda). As a quantity: --decoder ridge",
        ),
        (
            {},
            Column("direction", STEPS),
            "direction: 8 values from 0 to 315 degrees: a circle of 360 degrees (ridge). As classes: --set task=classify",
        ),
        (
            {"decoder": "knn"},
            Column("contrast", np.array([0.1, np.nan, 1.0])),
            "contrast: 2 values from 0.1 to 1: a quantity (knn). As classes: --set task=classify",
        ),
        ({}, Column("scene", np.array(["fox", "owl", "owl"])), "scene: 2 names, 1 to 2 trials each: classes (lda)."),
    ],
)
def test_it_says_what_was_taken_why_and_how_to_take_the_other(settings, column, sentence):
    config = DecodeConfig(**settings)
    assert choose_task(column, config).sentence(column.name, config, column.numeric) == sentence


def test_zero_means_nothing_for_contrast_and_its_like():
    assert [
        n
        for n in ("contrast", "grating_contrast", "laser_power", "speed", "image", "contrast_id")
        if zero_is_nothing(n)
    ] == [
        "contrast",
        "grating_contrast",
        "laser_power",
    ]
