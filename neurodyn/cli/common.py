"""What several verbs share: options, reading sources, and telling whether a product is up to date."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from neurodyn.cli.console import Common
from neurodyn.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from neurodyn.core.config import Params
    from neurodyn.data.recording import Recording
    from neurodyn.readers.options import ReadOptions

P = TypeVar("P", bound="Params")

Existing = Literal["error", "skip", "overwrite"]
ExistingOption = Annotated[
    Existing,
    typer.Option("--existing", help="What to do where something else stands: refuse it, keep it, or replace it."),
]
Gpu = Annotated[str, typer.Option("--gpu", help="GPU number(s) as 0 or 0,1; all; auto; or none.")]
Out = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.", show_default=False)]
Fs = Annotated[float | None, typer.Option("--fs", help="Frames per second and channel, Hz.", show_default=False)]
Channels = Annotated[
    str | None,
    typer.Option("--channels", help="Interleaved channels in order: fluorescence,reference.", show_default=False),
]
Axes = Annotated[str | None, typer.Option("--axes", help="Axes in order: time,y,x or time,roi.", show_default=False)]
Key = Annotated[str | None, typer.Option("--key", help="Dataset inside an HDF5 or npz file.", show_default=False)]
ReaderName = Annotated[
    str | None, typer.Option("--reader", help="Name of the reader (default: by the file).", show_default=False)
]
Indicator = Annotated[str | None, typer.Option("--indicator", help="Calcium indicator.", show_default=False)]
Brain = Annotated[
    str | None, typer.Option("--brain", help="Brain mask: image file or dataset, non-zero inside.", show_default=False)
]


def read_options(
    common: Common,
    *,
    fs: float | None = None,
    channels: str | None = None,
    axes: str | None = None,
    key: str | None = None,
    indicator: str | None = None,
    brain: str | None = None,
    files: dict[str, str] | None = None,
) -> ReadOptions:
    """Resolve reading options: the `source` section of ``--config``, ``NEURODYN_SOURCE__*``, flags, ``--set source.*``."""
    from neurodyn.readers.options import ReadOptions

    flags: dict[str, Any] = {"fs": fs, "axes": axes, "key": key, "indicator": indicator, "brain": brain}
    flags["channels"] = channels.split(",") if channels else None
    flags |= {name: {"file": file} for name, file in (files or {}).items()}
    return resolve_section(common, "source", ReadOptions, flags)


def resolve_section(common: Common, name: str, model: type[P], given: Mapping[str, Any] | None = None) -> P:
    """Resolve a section, or a command's own keys: ``--config``, the environment (``NEURODYN_NAME__*``), flags, ``--set``.

    Parameters
    ----------
    name
        Of a section, whose keys are NAME.KEY; or of a command whose keys stand in no section.
    given
        Values of flags; those that are None were not given.
    """
    from neurodyn.core.config import COMMANDS, Resolved, layers_of, resolve, validate

    flags = {key: value for key, value in (given or {}).items() if value is not None}
    if name in COMMANDS:
        return validate(model, resolve(layers_of(name, config=common.config, flags=flags, sets=common.sets or [])))
    within = {name: flags} if flags else {}
    layers = layers_of(sections=(name,), config=common.config, flags=within, sets=common.sets or [])
    resolved = resolve(layer for layer in layers if name in layer.values)
    values = {name: resolved.values.get(name) or {}}
    return validate(model, Resolved(values, resolved.origins), prefix=(name,))


def require_sources(paths: Iterable[Path]) -> None:
    """Refuse sources that are not there, before anything else is done.

    Raises
    ------
    DataError
        Naming the first.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist.", "Expected a file or folder to read.", "Check the path.")


def ingest(path: Path, options: ReadOptions, reader: str | None = None) -> Recording:
    """Read a source and note where it came from, with its SHA-256."""
    from neurodyn.core.files import sha256
    from neurodyn.readers.read import read

    recording = read(path, options, reader)
    recording.tree.attrs.setdefault("source", str(path))
    recording.tree.attrs.setdefault("source_sha256", sha256(path))
    return recording


def request_id(**parts: Any) -> str:
    """Return a short digest of everything that decides a product."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def make_recording(common: Common, target: Path, request: str, existing: Existing, write: Callable[[], object]) -> None:
    """Have a recording written, unless it stands as asked; two processes that want the same one take turns.

    Parameters
    ----------
    request
        Digest of everything that decides the recording; it is kept in its attributes.
    write
        Writes the recording to `target`, with `request` in its attributes.

    Raises
    ------
    ConfigError
        If something else stands there and `existing` is "error".
    """
    from neurodyn.core.files import locked

    with locked(target.with_name(f"{target.name}.request")):
        if _settled(target, request, existing):
            common.say(f"{target} is up to date.")
        else:
            write()


def _settled(path: Path, request: str, existing: Existing) -> bool:
    if not path.exists():
        return False
    if existing == "skip" or _recording_request(path) == request:
        return True
    if existing == "overwrite":
        return False
    raise ConfigError(
        f"{path} already holds something else.",
        "It was made from other inputs, with another configuration, or not by this command.",
        "Choose another -o, or replace it: --existing overwrite",
    )


def _recording_request(path: Path) -> str | None:
    """Return the request that made a recording; None where there is no readable recording."""
    from neurodyn.data.recording import Recording

    try:
        return Recording.open(path).tree.attrs.get("request")
    except DataError:
        return None


def parse_seeds(text: str) -> list[int]:
    """Read seeds as ``0``, ``0,3`` or ``0-4``.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    try:
        seeds: list[int] = []
        for part in text.split(","):
            first, _, last = part.partition("-")
            seeds += range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise ConfigError(f"--seed {text} cannot be read.", "Expected 0, 0,3 or 0-4.", "Example: --seed 0-4") from error
    return seeds
