"""Console: options every command shares, the product on stdout, everything else on stderr, exit codes."""

from __future__ import annotations

import inspect
import io
import json as jsonlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.parameters import parameters_of, typed
from neurodyn.core.errors import ConfigError, NeurodynError, TerminatedError, WorkError, out_of_memory
from neurodyn.core.extras import lacking
from neurodyn.core.log import LOGGER, Report, log_to, silent
from neurodyn.core.registry import unknown

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY = 10.0  # seconds between two lines on one stage
INTERRUPTED, TERMINATED = 130, 143
LAST_LINES = 200

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with configuration.", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Set one key; repeatable.", show_default=False),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Print what would be done, with the origin of each value.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the product as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Details on stderr.")]
LogFile = Annotated[
    Path | None, typer.Option("--log-file", help="Also log to this file, as JSON lines.", show_default=False)
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show tracebacks, and write neurodyn-debug-TIME.zip here for a bug report: no data in it. [env: NEURODYN_DEBUG]",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Call:
    """A command as it was typed.

    Parameters
    ----------
    name
        The command.
    parameters
        What it takes, by name.
    values
        What it was given, by name.
    """

    name: str
    parameters: Mapping[str, inspect.Parameter]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Common:
    """The options every command takes, and the call they came with."""

    config: ConfigFile = None
    sets: Sets = None
    dry_run: DryRun = False
    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False
    log_file: LogFile = None
    debug: Debug = False
    call: Call | None = None

    def again(self, **changed: Any) -> list[str]:
        """Return the command line that does this call with some of its values changed."""
        if self.call is None:
            raise ValueError("this command was not typed")
        words = typed(self.call.parameters, {**self.call.values, **changed})
        return [sys.executable, "-P", "-m", "neurodyn", self.call.name, *words]

    def product(self, path: Path | str, **facts: Any) -> None:
        """Print what was made: one line, or one JSON object with ``--json``."""
        sys.stdout.write((jsonlib.dumps({"path": str(path)} | facts, default=str) if self.json else str(path)) + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Tell the person something on stderr, unless ``--quiet``."""
        if not self.quiet:
            sys.stderr.write(text + "\n")

    def plan(self, lines: list[str], **facts: Any) -> None:
        """Print a dry run's plan on stdout: lines, or one JSON object with ``--json``."""
        sys.stdout.write(
            (jsonlib.dumps(facts | {"plan": lines}, default=str) if self.json else "\n".join(lines)) + "\n"
        )


@dataclass
class _Console:
    """What the last error needs to know; set once per process by the command that runs."""

    debug: bool = field(default_factory=lambda: bool(os.environ.get("NEURODYN_DEBUG")))
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


class _LastLines(logging.Handler):
    """Keeps the last messages for a bug report."""

    def emit(self, record: logging.LogRecord) -> None:
        CONSOLE.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")


CONSOLE = _Console()


def command(
    app: typer.Typer, name: str, *, panel: str, example: str, sections: Sequence[str] | None = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose first parameter is `Common`; its options are added to the command's own.

    Parameters
    ----------
    panel
        Under which heading the help lists it.
    example
        A line to type.
    sections
        Sections of configuration that it reads, others being refused; None where it has keys of its own, and checks all.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(parameters_of(function).values())[1:]
        shared = [_parameter(each, hint, getattr(Common, each)) for each, hint in COMMON_HINTS.items()]
        parameters = {parameter.name: parameter for parameter in [*own, *shared]}

        @wraps(function)
        def run(**values: Any) -> None:
            call = Call(name, parameters, dict(values))
            common = Common(**{each: values.pop(each) for each in COMMON_HINTS}, call=call)
            try:
                with _logging(common):
                    refuse_strangers(name, sections, common.config, common.sets or [])
                    function(common, **values)
            except KeyboardInterrupt as error:  # which typer would turn into a silent exit
                raise typer.Exit(show_error(error)) from error

        vars(run)["__signature__"] = inspect.Signature(list(parameters.values()))
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters.values()}
        del run.__wrapped__
        vars(run)["sections"] = sections
        app.command(name, rich_help_panel=panel, epilog=f"Example: {example}")(run)
        return function

    return register


def refuse_strangers(name: str, sections: Sequence[str] | None, config: Path | None, sets: Sequence[str]) -> None:
    """Refuse what a command that reads sections, or no configuration at all, would not read.

    Raises
    ------
    ConfigError
        Naming the section and those that there are.
    """
    if sections is None or not (config or sets):
        return
    from neurodyn.core.config import SECTIONS, load_yaml

    if not sections:
        given = f"--set {sets[0]}" if sets else f"--config {config}"
        raise ConfigError(f"{given}: {name} has nothing to set.", "It reads no configuration.", "Leave it out.")
    heads = [(item.partition("=")[0].partition(".")[0], f"--set {item}", sections) for item in sets]
    if config:  # one file may serve several commands
        layer = load_yaml(config)
        heads += [(head, layer.where((head,)), SECTIONS) for head in layer.values]
    for head, origin, known in heads:
        if head not in known:
            close = unknown("section", head, known)
            raise ConfigError(f"{origin}: {name} reads no section '{head}'.", close.found, close.fix)


COMMON_HINTS: dict[str, Any] = {
    "config": ConfigFile,
    "sets": Sets,
    "dry_run": DryRun,
    "json": Json,
    "quiet": Quiet,
    "verbose": Verbose,
    "log_file": LogFile,
    "debug": Debug,
}


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


class _OnStderr(logging.Handler):
    """Hands messages to rich, which is imported when there is one."""

    @cached_property
    def drawn(self) -> logging.Handler:
        """The handler that draws them."""
        from rich.console import Console
        from rich.logging import RichHandler

        return RichHandler(self.level, Console(stderr=True), show_path=False, show_time=False, markup=False)

    def emit(self, record: logging.LogRecord) -> None:
        self.drawn.emit(record)


@contextmanager
def _logging(common: Common) -> Iterator[None]:
    CONSOLE.debug = CONSOLE.debug or common.debug
    if common.log_file is not None:
        from neurodyn.core.files import check_output

        check_output(common.log_file)
    level = logging.ERROR if common.quiet else logging.DEBUG if common.verbose else logging.INFO
    LOGGER.setLevel(logging.DEBUG)
    CONSOLE.lines.clear()
    handlers: list[logging.Handler] = [_OnStderr(level), _LastLines()]
    for each in handlers:
        LOGGER.addHandler(each)
    if common.log_file is not None:
        handlers.append(log_to(common.log_file))
    try:
        yield
    finally:
        for each in handlers:
            LOGGER.removeHandler(each)
            each.close()


@contextmanager
def progress_bar(common: Common) -> Iterator[Report]:
    """Yield `report(label, share)`: a bar with the time left on a terminal, otherwise a line now and then."""
    if common.quiet:
        yield silent
    elif not sys.stderr.isatty():
        yield _line_reporter(common)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
            yield _bar_reporter(progress)


def _bar_reporter(progress: Progress) -> Report:
    task = progress.add_task("", total=1.0)

    def report(label: str, share: float) -> None:
        if share < progress.tasks[0].completed:  # another stage begins, and with it another pace
            progress.reset(task, description=label)
        progress.update(task, description=label, completed=share)

    return report


def _line_reporter(common: Common) -> Report:
    """Say a line whenever the label changes, and at most every ten seconds otherwise."""
    said, when = "", 0.0

    def report(label: str, share: float) -> None:
        nonlocal said, when
        now = time.monotonic()
        if label != said or now - when >= EVERY:
            said, when = label, now
            common.say(f"{label} ({share:.0%})")

    return report


def speak_utf8() -> None:
    """Print names of files as they are, in whatever locale and whatever their bytes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


def stop_in_order() -> None:
    """Have SIGTERM raise where the process is, so that locks and temporary files go, and the exit code is 143."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the tidying
        raise TerminatedError

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def show_error(error: BaseException) -> int:
    """Print an error as three lines on stderr and return its exit code."""
    if CONSOLE.debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        terminated = isinstance(error, TerminatedError)
        said, code = ("Terminated (SIGTERM).", TERMINATED) if terminated else ("Interrupted.", INTERRUPTED)
        sys.stderr.write(f"{said}\nWhat was finished is saved.\nType the same command again to go on.\n")
        return code
    error = lacking(error) or error
    lines, code = _three_lines(error), getattr(error, "exit_code", 1)
    if (full := out_of_memory(error)) is not None:
        lines, code = _of_memory(full), 1
    if CONSOLE.debug:
        _leave_bundle(error)
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return code


def _leave_bundle(error: BaseException) -> None:
    from neurodyn.cli.bundle import write_bundle

    try:
        path = write_bundle(error, CONSOLE.lines, Path.cwd())
        sys.stderr.write(f"For a bug report: {path}\nIt holds no data; look through it before you send it.\n")
    except WorkError as refused:
        sys.stderr.write(f"No file for a bug report: {refused.what} {refused.found}\n")


def _of_memory(error: BaseException) -> tuple[str, str, str]:
    said = next((line for line in str(error).splitlines() if line.strip()), "The system refused more.")
    return (
        "Error: not enough memory.",
        " ".join(said.split())[:300],
        "Use shorter windows, smaller batches (--set training.batch=4), fewer jobs (-j 1), or a machine with more memory.",
    )


def _three_lines(error: BaseException) -> tuple[str, str, str]:
    if isinstance(error, NeurodynError):
        flat = [" ".join(line.split()) for line in (error.what, error.found, error.fix)]
        return f"Error: {flat[0]}", flat[1], flat[2]
    usage = getattr(error, "format_message", None)
    if usage is not None:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "neurodyn"
        return f"Error: {' '.join(usage().split())}", f"Expected what '{where}' takes.", f"See: {where} --help"
    if isinstance(error, OSError):
        return (
            f"Error: {error.strerror or error}.",
            f"File: {error.filename or 'unknown'}.",
            "Mend access or space, then type the command again.",
        )
    text = " ".join(str(error).split())
    return (
        f"Error: {type(error).__name__}: {text}",
        "This is a fault in neurodyn, not in your data.",
        "Type it again with --debug and report the file that it leaves.",
    )
