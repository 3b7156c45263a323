"""`neurodyn preprocess`: recordings or raw files through a chain of steps."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import (
    Axes,
    Brain,
    Channels,
    Existing,
    ExistingOption,
    Fs,
    Indicator,
    Key,
    Out,
    ReaderName,
    ingest,
    make_recording,
    read_options,
    request_id,
)
from neurodyn.cli.console import Common, command, progress_bar, show_error
from neurodyn.core.errors import ConfigError, NeurodynError, WorkError

if TYPE_CHECKING:
    from neurodyn.data.readers import ReadOptions
    from neurodyn.data.recording import Recording
    from neurodyn.preprocess.chain import Chain


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "preprocess")(preprocess)


def preprocess(
    common: Common,
    inputs: Annotated[list[Path], typer.Argument(help="Recordings, movies or folders.")],
    output: Out = None,
    chain: Annotated[
        str | None,
        typer.Option(
            "--chain", help="Chain preset or YAML file. [default: what suits the recording]", show_default=False
        ),
    ] = None,
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    brain: Brain = None,
    reader: ReaderName = None,
    existing: ExistingOption = "error",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Recordings at a time.")] = 1,
) -> None:
    """Run a preprocessing chain: ΔF/F, hemodynamics, deconvolution and more."""
    from neurodyn.core.files import check_output
    from neurodyn.data.readers import read

    steps = _load(common, chain) if chain else None
    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key, indicator=indicator, brain=brain)
    targets = _targets(inputs, output)
    for _, target in targets:
        check_output(target, inputs)
    if common.dry_run:
        lines = [f"{source} -> {target}" for source, target in targets]
        steps = steps or _suiting(common, read(inputs[0], options, reader))
        reading = "source: read once for its checksum, once to copy and to look at it"
        reading += ", once to tell the channels apart" if options.demux == "correlation" else ""
        common.plan([*lines, reading, *steps.plan()], steps=steps.describe())
        return
    if jobs > 1 and len(targets) > 1:
        _in_parallel(targets, jobs)
        return
    failures = [
        source
        for source, target in targets
        if not _one(common, source, target, steps, options, reader, existing, len(targets))
    ]
    if failures:
        raise WorkError(
            f"{len(failures)} of {len(targets)} recordings failed.",
            ", ".join(map(str, failures)),
            "See above; the rest is done.",
        )


def _load(common: Common, name: str) -> Chain:
    from neurodyn.preprocess.chain import load_chain

    return load_chain(name, [item for item in common.sets or [] if not item.startswith("source.")])


def _suiting(common: Common, recording: Recording) -> Chain:
    """Return the chain that suits a recording, and say which it is and why."""
    from neurodyn.preprocess.default import default_chain

    name, why = default_chain(recording)
    common.say(f"Chain {name} for {recording.session}: {why}.")
    return _load(common, name)


def _targets(inputs: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    if output is not None and output.suffix == ".zarr":
        if len(inputs) > 1:
            raise ConfigError(f"{output} names one recording.", f"Found {len(inputs)} inputs.", "Give a folder: -o DIR")
        return [(inputs[0], output)]
    folder = output or Path("preprocessed")
    targets = [(source, folder / f"{source.name.removesuffix(source.suffix)}.zarr") for source in inputs]
    names = [target for _, target in targets]
    twins = sorted({str(target) for target in names if names.count(target) > 1})
    if twins:
        raise ConfigError(
            "Two inputs would write one recording.", f"Found: {', '.join(twins)}.", "Run them with different -o."
        )
    return targets


def _one(
    common: Common,
    source: Path,
    target: Path,
    chain: Chain | None,
    options: ReadOptions,
    reader: str | None,
    existing: Existing,
    total: int,
) -> bool:
    try:
        _make(common, source, target, chain, options, reader, existing)
    except NeurodynError as error:
        if total == 1:
            raise
        show_error(error)
        return False
    common.product(target)
    return True


def _make(
    common: Common,
    source: Path,
    target: Path,
    chain: Chain | None,
    options: ReadOptions,
    reader: str | None,
    existing: Existing,
) -> None:
    from neurodyn.core.provenance import version

    recording = ingest(source, options, reader)
    chain = chain or _suiting(common, recording)
    request = request_id(
        source=recording.tree.attrs["source_sha256"],
        history=recording.history,
        options=options.model_dump(mode="json"),
        steps=chain.describe(),
        version=version(),
    )

    def write() -> None:
        recording.tree.attrs["request"] = request
        with progress_bar(common) as report:
            chain.run(recording, target, progress=report)

    make_recording(common, target, request, existing, write)


def _in_parallel(targets: list[tuple[Path, Path]], jobs: int) -> None:
    """Repeat this command once per recording, several at a time."""
    arguments = [a for a in sys.argv[1:] if a not in {str(source) for source, _ in targets}]

    def run(pair: tuple[Path, Path]) -> int:
        return subprocess.run(
            [sys.executable, "-m", "neurodyn", *arguments, "-j", "1", "-o", str(pair[1]), str(pair[0])], check=False
        ).returncode

    with ThreadPoolExecutor(jobs) as pool:
        codes = list(pool.map(run, targets))
    failed = [str(source) for (source, _), code in zip(targets, codes, strict=True) if code]
    if failed:
        raise WorkError(
            f"{len(failed)} of {len(targets)} recordings failed.", ", ".join(failed), "See above; the rest is done."
        )
