"""Arguments and options of commands: how they are shown, and how they are typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo


@dataclass(frozen=True)
class Parameter:
    """An argument or an option of a command, as it is shown.

    Parameters
    ----------
    words
        What is typed for an option, such as --jobs; () for an argument.
    metavar
        What stands for its value; "" for a switch.
    default
        Its default, or "".
    help
        What it means.
    """

    words: tuple[str, ...]
    metavar: str
    default: str
    help: str

    @classmethod
    def of(cls, parameter: inspect.Parameter) -> Parameter:
        """Read what a command's signature says of one of its parameters."""
        kind, info = get_args(parameter.annotation)
        kinds = [part for part in get_args(kind) if part is not type(None)] or [kind]
        several = any(get_origin(part) is list for part in [kind, *kinds])
        if isinstance(info, ArgumentInfo):
            word = (info.metavar or parameter.name.upper()) + ("..." if several else "")
            optional = parameter.default is not inspect.Parameter.empty
            return cls((), f"[{word}]" if optional else word, "", info.help or "")
        given = parameter.default
        shown = "" if given in (None, False, inspect.Parameter.empty) else f"`{given}`"
        told = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]  # Typer's order
        words = tuple(told or [f"--{parameter.name.replace('_', '-')}"])
        return cls(words, "" if kind is bool else info.metavar or _value(kind, kinds), shown, info.help or "")


def _value(kind: Any, kinds: Sequence[Any]) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    names = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
    return names.get(kinds[0], "TEXT")


def parameters_of(callback: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a command, by name."""
    return dict(inspect.signature(callback, eval_str=True).parameters)


def typed(parameters: Mapping[str, inspect.Parameter], values: Mapping[str, Any]) -> list[str]:
    """Return what has to be typed for a command to be given these values; those that are its defaults are left out.

    Parameters
    ----------
    values
        By the parameter's name, as the command was given them.
    """
    options: list[str] = []
    arguments: list[str] = []
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else [] if value is None else [value]
        words = Parameter.of(parameters[name]).words
        if not words:
            arguments += map(str, several)
        elif value != parameters[name].default:
            options += _option(words[0], several)
    return [*options, "--", *arguments]


def _option(word: str, values: Sequence[Any]) -> list[str]:
    yes, _, no = word.partition("/")
    if len(values) == 1 and isinstance(values[0], bool):
        return [yes if values[0] else no]
    return [part for value in values for part in (yes, str(value))]
