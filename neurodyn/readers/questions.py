"""What a source does not say of itself: an error that names the option which says it, and a value to look on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurodyn.core.errors import DataError


@dataclass(frozen=True)
class Need:
    """Something a source does not say.

    Parameters
    ----------
    option
        What to type; capitals stand for what only the user knows.
    why
        What is missing, and what speaks for the value given.
    """

    option: str
    why: str


class QuestionError(DataError):
    """The source can be read once something is told that it does not say (exit 3).

    Every other command ends with it; `inspect` lists the need and looks on as if the guess had been told.

    Parameters
    ----------
    what, found, fix
        The three lines.
    need
        What to type, and why.
    guess
        Fields of `ReadOptions` that answer the question for a look at the source.
    """

    def __init__(self, what: str, found: str, fix: str, *, need: Need, guess: Mapping[str, Any]) -> None:
        super().__init__(what, found, fix)
        self.need, self.guess = need, dict(guess)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.what, self.found, self.fix, self.need, self.guess)


def which_one(path: Path, what: str, found: str, option: str, why: str, guess: Mapping[str, Any]) -> QuestionError:
    """Return the question that is asked where a source has several things of which one can be read.

    Parameters
    ----------
    what
        How many of what, as "3 planes".
    """
    return QuestionError(
        f"{path} has {what}; one must be chosen.",
        f"Found {found}.",
        f"Choose one, and read the others one by one: {option}",
        need=Need(option, why),
        guess=guess,
    )


def _again(kind: type[QuestionError], what: str, found: str, fix: str, need: Need, guess: dict[str, Any]) -> Any:
    return kind(what, found, fix, need=need, guess=guess)
