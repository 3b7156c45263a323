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
    require_sources,
)
from neurodyn.cli.console import Common, command, progress_bar, show_error
from neurodyn.core.errors import ConfigError, NeurodynError, WorkError

if TYPE_CHECKING:
    from neurodyn.data.recording import Recording
    from neurodyn.preprocess.chain import Chain
    from neurodyn.readers.options import ReadOptions


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "preprocess",
        panel="Preprocess",
        example="neurodyn preprocess movie.zarr --chain widefield -o clean.zarr",
        sections=None,
    )(preprocess)


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
    from neurodyn.readers.read import read

    steps = chosen_chain(common, chain) if chain else None
    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key, indicator=indicator, brain=brain)
    targets = _targets(inputs, output)
    for _, target in targets:
        check_output(target, inputs)
    if common.dry_run:
        require_sources(inputs)
        steps = steps or suiting_chain(common, read(inputs[0], options, reader))
        _check(inputs, steps, options, reader)
        _show_plan(common, targets, steps, options)
        return
    if jobs > 1 and len(targets) > 1:
        failures = _in_parallel(common, targets, jobs)
    else:
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


def suiting_chain(common: Common, recording: Recording) -> Chain:
    """Return the chain that suits a recording, and say which it is and why."""
    from neurodyn.preprocess.default import default_chain

    name, why = default_chain(recording)
    common.say(f"Chain {name} for {recording.session}: {why}.")
    return chosen_chain(common, name)


def chosen_chain(common: Common, name: str) -> Chain:
    """Load a chain with what ``--config``, the environment and ``--set`` change in its steps."""
    from neurodyn.core.config import layers_of, without_section
    from neurodyn.preprocess.chain import load_chain

    layers = layers_of("preprocess", config=common.config, sets=common.sets or [])
    return load_chain(name, layers=[without_section(layer, "source") for layer in layers])


def _check(inputs: list[Path], steps: Chain, options: ReadOptions, reader: str | None) -> None:
    """Refuse what the chain would refuse; channels that are told apart by looking at every frame are taken for granted."""
    from neurodyn.readers.read import read

    if options.demux == "order":
        for source in inputs:
            steps.check(read(source, options, reader))


def _show_plan(common: Common, targets: list[tuple[Path, Path]], steps: Chain, options: ReadOptions) -> None:
    lines = [f"{source} -> {target}" for source, target in targets]
    reading = "source: read once for its checksum, once to copy and to look at it"
    reading += ", once to tell the channels apart" if options.demux == "correlation" else ""
    common.plan([*lines, reading, *steps.plan()], steps=steps.describe())


def _targets(inputs: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    if output is not None and output.suffix == ".zarr":
        if len(inputs) > 1:
            raise ConfigError(f"{output} names one recording.", f"Found {len(inputs)} inputs.", "Give a folder: -o DIR")
        return [(inputs[0], output)]
    names = _told_apart(inputs)
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise ConfigError(
            "Two inputs would write one recording.", f"Found: {', '.join(twins)}.", "Run them with different -o."
        )
    folder = output or Path("preprocessed")
    return [(source, folder / f"{name}.zarr") for source, name in zip(inputs, names, strict=True)]


def _told_apart(inputs: list[Path]) -> list[str]:
    """Return a name for each input: its own, with its folder's in front where another input has it, too."""
    own = [source.name.removesuffix(source.suffix) for source in inputs]
    return [
        f"{source.resolve().parent.name}-{name}" if own.count(name) > 1 else name
        for source, name in zip(inputs, own, strict=True)
    ]


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
    chain = chain or suiting_chain(common, recording)
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


def _in_parallel(common: Common, targets: list[tuple[Path, Path]], jobs: int) -> list[Path]:
    """Repeat this command once per recording, several at a time; return the sources that failed."""
    running: list[subprocess.Popen[str]] = []

    def run(pair: tuple[Path, Path]) -> int:
        source, target = pair
        command = common.again(inputs=[source], output=target, jobs=1)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
            running.append(process)
            for line in process.stderr or ():
                sys.stderr.write(f"{source.name}: {line}")
        return process.returncode

    pool = ThreadPoolExecutor(jobs)
    try:
        codes = list(pool.map(run, targets))
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
        raise
    finally:
        pool.shutdown()
    return [source for (source, _), code in zip(targets, codes, strict=True) if code]
