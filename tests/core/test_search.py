"""Ranges and choices, and how a configuration writes them."""

import pytest

from neurodyn.core.errors import ConfigError
from neurodyn.core.search import Choice, Range, read_space


def test_a_range_holds_what_lies_between_its_ends():
    assert all(value in Range(1, 4) for value in (1, 2, 4))
    assert not any(value in Range(1, 4) for value in (0, 5, 2.0, True, None, "2"))
    assert all(value in Range(0.0, 1.0) for value in (0, 0.5, 1.0))
    assert not any(value in Range(0.0, 1.0) for value in (-0.1, True, "0.5"))


def test_a_space_is_widened_to_the_value_the_search_starts_from():
    assert Range(1, 4).holding(9) == Range(1, 9)
    assert Range(1, 4).holding(2) == Range(1, 4)
    assert Range(0.1, 1.0, log=True).holding(0.01) == Range(0.01, 1.0, log=True)
    assert Range(0.1, 1.0, log=True).holding(0.0) == Range(0.0, 1.0), "0 has no logarithm"
    assert Choice((1, 2)).holding(3) == Choice((1, 2, 3))
    assert Choice(((1, 2), (3, 4))).holding([1, 2]) == Choice(((1, 2), (3, 4)))
    assert Choice((0, 1)).holding(False) == Choice((0, 1, False)), "truth values are no numbers"


def test_a_configuration_writes_choices_and_ranges():
    assert read_space("model.width", [16, 32]) == Choice((16, 32))
    assert read_space("model.layers", {"low": 1, "high": 4}) == Range(1, 4)
    assert read_space("training.lr", {"low": "1e-4", "high": 0.1, "log": True}) == Range(1e-4, 0.1, log=True)
    for space in (Choice((16, [1, 2])), Range(1, 4, log=True)):
        assert read_space("model.width", space.plain) == space


@pytest.mark.parametrize(
    "given",
    [
        3,
        [3],
        {"low": 1},
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"low": "a", "high": 1},
        {"low": 1, "high": 2, "step": 1},
        {"low": 1, "high": 2, "log": "yes"},
    ],
)
def test_what_is_no_space_is_refused(given):
    with pytest.raises(ConfigError, match="tune.space.model.width"):
        read_space("model.width", given)
