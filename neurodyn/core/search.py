"""Where a parameter is looked for: a range, or choices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from neurodyn.core.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are.

    Parameters
    ----------
    low, high
        The ends.
    log
        Look for the logarithm.
    """

    low: float
    high: float
    log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The ends."""
        return self.low, self.high

    @property
    def plain(self) -> dict[str, Any]:
        """The space as a configuration has it."""
        return {"low": self.low, "high": self.high, "log": self.log}

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return self.low <= value <= self.high

    def holding(self, value: float) -> Range:
        """Return the range widened to a value; where that is not above 0, it is no logarithm's any more."""
        return replace(self, low=min(self.low, value), high=max(self.high, value), log=self.log and value > 0)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """A few values.

    Parameters
    ----------
    values
        In any order; lists count as one value each.
    """

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    @property
    def plain(self) -> list[Any]:
        """The space as a configuration has it."""
        return plain(list(self.values))

    def __contains__(self, value: object) -> bool:
        return any(_same(value, own) for own in self.values)

    def holding(self, value: Any) -> Choice:
        """Return the choices with a value, last if it is new."""
        return self if value in self else replace(self, values=(*self.values, value))

    def __str__(self) -> str:
        return " | ".join(map(str, self.plain))


Space = Range | Choice


def plain(value: Any) -> Any:
    """Return values as YAML has them: sequences are lists."""
    if isinstance(value, dict):
        return {key: plain(own) for key, own in value.items()}
    return [plain(own) for own in value] if isinstance(value, list | tuple) else value


def _same(one: Any, other: Any) -> bool:
    """Compare values as a YAML file has them; truth values are no numbers."""
    return isinstance(one, bool) == isinstance(other, bool) and plain(one) == plain(other)


def read_space(key: str, given: Any) -> Space:
    """Read a space as a configuration has it: a list of choices, or `{low: …, high: …, log: true}`.

    Raises
    ------
    ConfigError
        If it is neither, or holds fewer than two values.
    """
    if isinstance(given, list):
        if len(given) < 2:
            raise _no_space(key, given, "at least two choices")
        return Choice(tuple(given))
    if not isinstance(given, dict) or not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
        raise _no_space(key, given, "[choice, choice] or {low: number, high: number, log: true}")
    low, high, log = _number(given["low"]), _number(given["high"]), given.get("log", False)
    if low is None or high is None or not low < high:
        raise _no_space(key, given, "numbers, low below high")
    if not isinstance(log, bool) or (log and low <= 0):
        raise _no_space(key, given, "log: true with low above 0, or log: false")
    return Range(low, high, log)


def _number(value: Any) -> float | None:
    """Return a number; YAML takes 1e-4, without a point, for text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _no_space(key: str, given: Any, expected: str) -> ConfigError:
    return ConfigError(
        f"tune.space.{key} is no space.",
        f"Found {given!r}; expected {expected}.",
        f"Example: --set 'tune.space.{key}=[1, 2]'",
    )
