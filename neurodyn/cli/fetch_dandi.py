"""`neurodyn fetch dandi`: files of a dandiset, and the recordings in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from neurodyn.core.errors import ConfigError

if TYPE_CHECKING:
    from neurodyn.data.recording import Recording
    from neurodyn.fetch.dandi import Archive, Asset
    from neurodyn.readers.options import ReadOptions

Dandiset = Annotated[str, typer.Argument(metavar="DANDISET", help="Number of the dandiset: 000728.")]
Version = Annotated[
    str | None, typer.Option("--version", help="Version. [default: the last one published]", show_default=False)
]
List = Annotated[bool, typer.Option("--list", help="Show the assets that meet the conditions; fetch nothing.")]
Pattern = Annotated[
    str | None, typer.Option("--path", help="Whole path of an asset; * for anything.", show_default=False)
]
Subjects = Annotated[str | None, typer.Option("--subject", help="Names of subjects.", show_default=False)]
Sessions = Annotated[str | None, typer.Option("--session", help="Names of sessions: 501940850.", show_default=False)]
Stream = Annotated[
    bool,
    typer.Option("--stream", help="With --convert: read over the network, download nothing; needs the extra dandi."),
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api", envvar="NEURODYN_DANDI_API", help="Address of the API. [default: DANDI's]", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "dandi",
        panel="Data in and out",
        example="neurodyn fetch dandi 000728 --subject 484408 --list",
        sections=("source",),
    )(fetch_dandi)


def fetch_dandi(
    common: Common,
    dandiset: Dandiset,
    version: Version = None,
    listed: List = False,
    path: Pattern = None,
    subject: Subjects = None,
    session: Sessions = None,
    output: Out = None,
    convert: Convert = False,
    stream: Stream = False,
    existing: ExistingOption = "error",
    jobs: Jobs = 2,
    offline: Offline = False,
    timeout: Timeout = 30.0,
    retries: Retries = 5,
    api: Api = None,
) -> None:
    """Fetch files of a dandiset from the DANDI archive into the cache, or into -o.

    Conditions hold together; subjects and sessions take several values, separated by commas. Downloads are checked, and
    go on where they were interrupted. What the reader takes is set with --set source.KEY=VALUE.
    """
    from neurodyn.core.files import check_output
    from neurodyn.fetch.dandi import API, Archive, Selection, parse_dandiset
    from neurodyn.fetch.download import Link

    if output is not None:
        check_output(output, whole=False)
    number = parse_dandiset(dandiset)
    subjects, sessions = (tuple(text.split(",")) if text else () for text in (subject, session))
    wanted = Selection(path=path, subjects=subjects, sessions=sessions)
    _check_usage(wanted == Selection() and not listed, stream, convert, offline)
    link = Link(timeout=timeout, retries=retries, offline=offline)
    archive = Archive(link, cache_folder() / "dandi" / "answers", (api or API).rstrip("/"))
    chosen = wanted.of(archive.assets(number, version or archive.version(number), wanted.pattern))
    if listed:
        _show(common, chosen)
    else:
        files = cache_folder() / "dandi" / number
        _Assets(common, archive, output or files, files, convert, stream, existing).fetch(chosen, jobs)


def _check_usage(all_of_it: bool, stream: bool, convert: bool, offline: bool) -> None:
    if all_of_it:
        raise ConfigError(
            "Which assets?",
            "Expected --path, --subject or --session; a dandiset can be terabytes.",
            "See what there is with --list; take all of it with --path '*'",
        )
    if stream and not convert:
        raise ConfigError(
            "--stream alone makes nothing.", "It reads an asset into a recording.", "Add --convert, or leave it out."
        )
    if stream and offline:
        raise ConfigError("--stream reads over the network.", "Found --offline beside it.", "Leave one of them out.")


def _show(common: Common, chosen: list[Asset]) -> None:
    rows = [{"path": one.path, "size": one.size, "id": one.id} for one in chosen]
    show(common, rows, assets=rows, version=chosen[0].version)
    common.say(f"{len(rows)} assets, {sum(one.size for one in chosen):,} bytes, version {chosen[0].version}")


@dataclass(frozen=True)
class _Assets:
    """Assets on their way, and where they and their recordings go."""

    common: Common
    archive: Archive
    output: Path
    files: Path
    convert: bool
    stream: bool
    existing: Existing

    def fetch(self, chosen: list[Asset], jobs: int) -> None:
        """Fetch, convert where asked, and print every product; what failed is told at the end."""
        options = read_options(self.common)
        if self.common.dry_run:
            places = [self._target(one) for one in chosen]
            lines = [
                f"{one.path} -> {place}{' (is there)' if place.exists() else ''}"
                for one, place in zip(chosen, places, strict=True)
            ]
            self.common.plan(lines, assets=[one.path for one in chosen], bytes=sum(one.size for one in chosen))
            return
        if self.stream:
            deliver(self.common, ((one, Path(one.path)) for one in chosen), lambda one, _: self._streamed(one, options))
            return
        from neurodyn.fetch.transfers import fetching

        with (
            progress_bar(self.common) as tell,
            fetching(
                chosen,
                lambda one, report: self.archive.fetch(one, self._file(one), report),
                self.archive.link,
                noun="assets",
                jobs=jobs,
                tell=tell,
            ) as fetched,
        ):
            deliver(self.common, fetched, lambda one, path: self._converted(one, path, options))

    def _file(self, asset: Asset) -> Path:
        return (self.files if self.convert else self.output) / asset.path

    def _target(self, asset: Asset) -> Path:
        return (self.output / asset.path).with_suffix(".zarr") if self.convert else self._file(asset)

    def _converted(self, asset: Asset, path: Path, options: ReadOptions) -> Path:
        if not self.convert:
            return path
        return self._made(asset, options, lambda: nullcontext(ingest(path, options)))

    def _streamed(self, asset: Asset, options: ReadOptions) -> Path:
        from neurodyn.readers.streamed import streaming

        @contextmanager
        def opened() -> Iterator[Recording]:
            with self.archive.streamed(asset) as file, streaming(file, Path(asset.path), options) as recording:
                yield recording

        return self._made(asset, options, opened)

    def _made(
        self, asset: Asset, options: ReadOptions, opened: Callable[[], AbstractContextManager[Recording]]
    ) -> Path:
        """Save the recording of an asset; streamed or downloaded, it counts as the same."""
        from neurodyn.core.provenance import version

        target = self._target(asset)
        request = request_id(asset=asset.id, options=options.model_dump(mode="json"), version=version())

        def write() -> None:
            with opened() as recording:
                digest = self.archive.digest(asset)
                stated = {} if digest is None else {"asset_sha256": digest}
                recording.tree.attrs.update(asset.source | stated | {"request": request})
                recording.save(target)

        make_recording(self.common, target, request, self.existing, write)
        return target
