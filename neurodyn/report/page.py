"""One self-contained HTML page from runs, recordings and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from neurodyn.core.errors import ConfigError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.core.provenance import version
from neurodyn.report.blocks import Part
from neurodyn.report.references import References


def report(paths: Sequence[Path], out: Path, published: str | None = None) -> Path:
    """Write one HTML page: images and style inside, nothing loaded from anywhere.

    The same inputs give the same bytes; the only times in it are those the inputs record.

    Parameters
    ----------
    paths
        Run folders, recordings, or folders with scores, in reading order; a table of scores stands for its folder.
    out
        The page.
    published
        Name or path of a YAML of published figures, to set beside scores of latents.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    ConfigError
        If there is nothing to report on, or nothing to set beside published figures.
    DataError
        If a path holds nothing to report, or something damaged.
    """
    from neurodyn.report.collect import collect
    from neurodyn.report.comparison import comparison_part
    from neurodyn.report.hidden import hidden_part
    from neurodyn.report.session import session_part

    if not paths:
        raise ConfigError("There is nothing to report.", "Found no paths.", "Give a run folder: neurodyn report RUN")
    folders = list(dict.fromkeys(_folder(Path(path)) for path in paths))
    if published is None and (session := session_part(folders)) is not None:
        return write_page([session], out)
    comparison = comparison_part(folders, published)
    hidden = hidden_part(folders)
    own = [collect(folder, [other for other in folders if other != folder]) for folder in folders]
    parts = [*([comparison] if comparison else []), *([hidden] if hidden else []), *own]
    return write_page(parts, out)


def write_page(parts: Sequence[Part], out: Path) -> Path:
    """Write parts as one HTML page, atomically."""
    title = parts[0].title if len(parts) == 1 else f"{len(parts)} results"
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(title=title, parts=parts, version=version(), references=References())
    )
    with locked(out):
        clear_partials(out)
        with atomic(out) as temporary:
            temporary.write_text(html, encoding="utf-8")
    return out


def _folder(path: Path) -> Path:
    return path.parent if path.is_file() and path.suffix == ".csv" else path


def _environment() -> Environment:
    loader = PackageLoader("neurodyn.report", "")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
