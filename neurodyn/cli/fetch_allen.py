"""`neurodyn fetch allen`: sessions of the Allen Brain Observatory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neurodyn.cli.common import (
    Existing,
    ExistingOption,
    Out,
    ingest,
    make_recording,
    read_options,
    request_id,
)
from neurodyn.cli.console import Common, command, progress_bar
from neurodyn.cli.fetching import Convert, Offline, Retries, Timeout, cache_folder, deliver, show
from neurodyn.cli.run import Jobs
from neurodyn.core.errors import ConfigError, NeurodynError

if TYPE_CHECKING:
    from neurodyn.fetch.catalogue import Experiment
    from neurodyn.fetch.download import Link
    from neurodyn.readers.options import ReadOptions


def _several(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, show_default=False)


List = Annotated[
    Literal["containers", "experiments"] | None, _several("--list", "Show what meets the conditions; fetch nothing.")
]
Areas = Annotated[str | None, _several("--area", "Visual areas: VISp,VISl.")]
Depths = Annotated[str | None, _several("--depth", "Depths, µm: 175,275.")]
CreLines = Annotated[str | None, _several("--cre", "Cre lines: Cux2-CreERT2.")]
Stimuli = Annotated[str | None, _several("--stimulus", "Stimuli: drifting_gratings,natural_scenes.")]
SessionTypes = Annotated[str | None, _several("--session-type", "Session types: A,B,C,C2.")]
Containers = Annotated[str | None, _several("--container", "Ids of containers.")]
Experiments = Annotated[str | None, _several("--experiment", "Ids of experiments.")]
Failed = Annotated[bool, _several("--failed", "Also containers that failed quality control.")]
Backend = Annotated[
    Literal["neurodyn", "allensdk"],
    typer.Option(
        "--backend",
        help="Who downloads and reads: neurodyn, or the Institute's own SDK, which uv installs apart.",
    ),
]
Refresh = Annotated[bool, _several("--refresh", "Ask for the catalogue again.")]
Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        envvar="NEURODYN_ALLEN_API",
        help="Address of the API. [default: the Institute's]",
        show_default=False,
    ),
]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        envvar="NEURODYN_ALLEN_MIRROR",
        help="Address of the copy that is asked where the API fails. [default: the public S3 bucket]",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "allen",
        panel="Data in and out",
        example="neurodyn fetch allen --container 511510667 --session-type A --convert",
        sections=("source",),
    )(fetch_allen)


def fetch_allen(
    common: Common,
    output: Out = None,
    listed: List = None,
    area: Areas = None,
    depth: Depths = None,
    cre: CreLines = None,
    stimulus: Stimuli = None,
    session_type: SessionTypes = None,
    container: Containers = None,
    experiment: Experiments = None,
    failed: Failed = False,
    convert: Convert = False,
    backend: Backend = "neurodyn",
    existing: ExistingOption = "error",
    jobs: Jobs = 2,
    offline: Offline = False,
    refresh: Refresh = False,
    timeout: Timeout = 30.0,
    retries: Retries = 5,
    api: Api = None,
    mirror: Mirror = None,
) -> None:
    """Fetch sessions of the Allen Brain Observatory into the cache, or into -o: a folder, or one recording (.zarr).

    Conditions on sessions hold together; each takes several values, separated by commas. Downloads are checked, and go
    on where they were interrupted. What the reader of sessions takes is set with --set source.KEY=VALUE.
    """
    from neurodyn.core.files import check_output

    texts = {"areas": area, "depths": depth, "cre_lines": cre, "stimuli": stimulus, "session_types": session_type}
    texts |= {"containers": container, "experiments": experiment}
    conditions = {name: tuple(text.split(",")) for name, text in texts.items() if text}
    if not conditions and listed is None:
        raise ConfigError(
            "Which sessions?",
            "Expected at least one condition; all of them are half a terabyte.",
            "Type for example: neurodyn fetch allen --container 511510667 --session-type A",
        )
    if output is not None:
        check_output(output, whole=output.suffix == ".zarr")
    access = _access(backend == "allensdk", jobs, api, mirror, timeout=timeout, retries=retries, offline=offline)
    chosen = _chosen(conditions, failed, access.catalogue(refresh))
    if listed is not None:
        _show(common, chosen, listed)
    else:
        _Sessions(common, access, output, convert, existing).fetch(chosen)


@dataclass(frozen=True)
class _Access:
    """How catalogue, files and what is in them are had: by neurodyn, or by the SDK."""

    link: Link
    api: str
    mirror: str
    sdk: bool
    jobs: int

    def catalogue(self, refresh: bool) -> list[Experiment]:
        from neurodyn.fetch.catalogue import read_catalogue

        cache = cache_folder() / "allen"
        if self.sdk and not self.link.offline:
            from neurodyn.fetch.allensdk import catalogue_by_sdk

            catalogue_by_sdk(cache, self.api, refresh)
            refresh = False
        return read_catalogue(cache, self.link, self.api, self.mirror, refresh)

    @contextmanager
    def sessions(
        self, chosen: list[Experiment], folder: Path, tell: Callable[[str, float], None]
    ) -> Iterator[Iterator[tuple[Experiment, Path | NeurodynError]]]:
        if self.sdk:
            from neurodyn.fetch.allensdk import fetch_by_sdk

            tell("the SDK's environment and sessions", 0.0)
            yield fetch_by_sdk(chosen, folder, self.api, self.link.offline)
            return
        from neurodyn.fetch.allen import fetching

        with fetching(
            chosen, folder, self.link, api=self.api, mirror=self.mirror, jobs=self.jobs, tell=tell
        ) as fetched:
            yield fetched

    def save(self, source: Path, target: Path, options: ReadOptions, request: str) -> None:
        if self.sdk:
            from neurodyn.core.files import sha256
            from neurodyn.fetch.allensdk import save_by_sdk

            save_by_sdk(source, target, options, self.link.offline, request=request, source_sha256=sha256(source))
            return
        recording = ingest(source, options, "allen")
        recording.tree.attrs["request"] = request
        recording.save(target)


def _access(sdk: bool, jobs: int, api: str | None, mirror: str | None, **link: Any) -> _Access:
    from neurodyn.fetch.catalogue import API, MIRROR
    from neurodyn.fetch.download import Link

    return _Access(Link(**link), (api or API).rstrip("/"), (mirror or MIRROR).rstrip("/"), sdk, jobs)


def _chosen(conditions: dict[str, tuple[str, ...]], failed: bool, catalogue: list[Experiment]) -> list[Experiment]:
    from neurodyn.core.config import build
    from neurodyn.fetch.catalogue import Selection

    return build(Selection, conditions | {"failed": failed}, "flags").of(catalogue)


def _show(common: Common, chosen: list[Experiment], listed: str) -> None:
    rows = _of_containers(chosen) if listed == "containers" else [_of_experiment(one) for one in chosen]
    show(common, rows, **{listed: rows})


def _of_experiment(one: Experiment) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name not in ("link", "failed")}


def _of_containers(chosen: list[Experiment]) -> list[dict[str, Any]]:
    rows: dict[int, dict[str, Any]] = {}
    for one in chosen:
        kept = {
            name: getattr(one, name) for name in ("container", "area", "depth", "cre_line", "reporter_line", "donor")
        }
        row = rows.setdefault(one.container, kept | {"experiments": ""})
        row["experiments"] += (
            f"{' ' if row['experiments'] else ''}{one.session_type.removeprefix('three_session_')}:{one.id}"
        )
    return list(rows.values())


class _Sessions:
    """Sessions on their way, and where they go."""

    def __init__(self, common: Common, access: _Access, output: Path | None, convert: bool, existing: Existing) -> None:
        self.common, self.access = common, access
        self.existing: Existing = existing
        self.single = output if output is not None and output.suffix == ".zarr" else None
        self.convert = convert or self.single is not None
        self.recordings = output or cache_folder() / "allen"
        self.files = cache_folder() / "allen" if self.convert else self.recordings

    def fetch(self, chosen: list[Experiment]) -> None:
        """Fetch, convert where asked, and print every product; what failed is told at the end."""
        from neurodyn.fetch.allen import session_path

        options = read_options(self.common)
        if self.single is not None and len(chosen) != 1:
            raise ConfigError(
                f"-o {self.single} takes one session.", f"The conditions choose {len(chosen)}.", "Give a folder: -o DIR"
            )
        if self.common.dry_run:
            paths = {one.id: session_path(self.files, one.id) for one in chosen}
            lines = [f"{key} -> {path}{' (is there)' if path.exists() else ''}" for key, path in paths.items()]
            self.common.plan(lines, experiments=list(paths))
            return
        with progress_bar(self.common) as tell, self.access.sessions(chosen, self.files, tell) as fetched:
            deliver(self.common, fetched, lambda one, path: self._product(one, path, options))

    def _product(self, one: Experiment, path: Path, options: ReadOptions) -> Path:
        from neurodyn.core.files import sha256
        from neurodyn.core.provenance import version

        if not self.convert:
            return path
        target = self.single or self.recordings / f"{one.id}.zarr"
        how = {"options": options.model_dump(mode="json"), "sdk": self.access.sdk, "version": version()}
        request = request_id(source=sha256(path), **how)
        save = partial(self.access.save, path, target, options, request)
        make_recording(self.common, target, request, self.existing, save)
        return target
