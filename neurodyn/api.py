"""What `import neurodyn as nd` gives: the verbs of the command line as functions of recordings, in memory or on disk."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neurodyn.core.config import build, layer_from_sets, resolve, validate
from neurodyn.core.extras import require
from neurodyn.data.recording import Recording

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from neurodyn.view.window import Window

Source = str | Path | Recording


def open(path: str | Path) -> Recording:
    """Open a recording (.zarr); its arrays are read when they are used.

    Raises
    ------
    DataError
        If it is none.
    """
    return Recording.open(Path(path))


def read(path: str | Path, *, reader: str | None = None, **options: Any) -> Recording:
    """Read any file or folder that `neurodyn inspect` understands.

    Parameters
    ----------
    options
        As of `neurodyn convert --set source.KEY`: fs, channels, axes, key, indicator, …

    Raises
    ------
    DataError
        If it is not understood, or has to be told something.
    """
    from neurodyn.readers.options import ReadOptions
    from neurodyn.readers.read import read as read_source

    return read_source(Path(path), build(ReadOptions, options, "options"), reader)


def preprocess(
    recording: Source,
    chain: str | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Recording:
    """Run a preprocessing chain.

    Parameters
    ----------
    chain
        Name or YAML file (default: what suits the recording).
    out
        Recording to write; without, the result is in memory.
    settings
        As `--set`: {"dff.window": 30}.

    Raises
    ------
    NeurodynError
        If the chain does not fit the recording, or the data cannot bear a step.
    """
    from neurodyn.preprocess.chain import load_chain
    from neurodyn.preprocess.default import default_chain

    source = _opened(recording)
    steps = load_chain(chain or default_chain(source)[0], sets=_sets(settings))
    if out is not None:
        return Recording.open(steps.run(source, Path(out)))
    with tempfile.TemporaryDirectory() as folder:
        return Recording(Recording.open(steps.run(source, Path(folder) / "recording.zarr")).tree.load())


def fit(
    recordings: Source | Sequence[Source],
    model: str,
    out: str | Path,
    *,
    gpu: str = "auto",
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Train a model into the run folder `out`, and return that; a finished one is left as it is.

    A recording that is only in memory is saved beside the folder first, as SESSION.zarr, since a run records its data.

    Parameters
    ----------
    model
        Preset or YAML file, as `neurodyn list models` gives them.
    settings
        As `--set`: {"training.epochs": 2}.

    Raises
    ------
    NeurodynError
        As `neurodyn train` would.
    """
    require("torch", "Training")
    from neurodyn.training.config import load_run_config
    from neurodyn.training.fit import fit as train

    given = [recordings] if isinstance(recordings, str | Path | Recording) else list(recordings)
    config, resolved = load_run_config(model, None, _sets(settings))
    saved = [_saved(_opened(one), Path(out).parent) for one in given]
    return train(config, resolved, saved, Path(out), gpu=gpu)


def infer(run: str | Path, *, gpu: str = "auto") -> Path:
    """Write the predictions of a run's held-out windows into its folder, and return their path."""
    require("torch", "A model")
    from neurodyn.training.infer import infer as predict

    return predict(Path(run), gpu=gpu)


def denoise(recording: Source, run: str | Path, out: str | Path, *, mix: bool = False, **settings: Any) -> Recording:
    """Predict every entry of a recording without its own noise, by a trained model, and write that in its place.

    Parameters
    ----------
    run
        Run folder, as `fit(recording, "denoise", "runs/denoise")` gives it.
    out
        Recording to write.
    mix
        Weigh prediction and observation by their variances.
    settings
        As of `neurodyn denoise --set KEY`: longest.

    Raises
    ------
    NeurodynError
        If the recording does not fit the model.
    """
    require("torch", "Denoising")
    from neurodyn.training.denoise import DenoiseConfig
    from neurodyn.training.denoise import denoise as predict

    config = build(DenoiseConfig, {"mix": mix} | settings, "settings")
    with _on_disk(recording if isinstance(recording, Recording) else _opened(recording)) as (path, _):
        return Recording.open(predict(path, Path(out), Path(run), config))


def decode(
    source: Source,
    target: str | None = None,
    *,
    folds: bool = False,
    curve: Literal["time", "cells", "generalise"] | None = None,
    on_session: Source | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Decode a target from a recording or a run with predictions.

    Parameters
    ----------
    source
        A recording, in memory or on disk, or a run folder; a run's table is written there, too.
    target
        Stimulus or behaviour column (default: the only stimulus column).
    folds
        Whether to return a row per fold, too.
    curve
        Return a row per time, number of cells or pair of times instead.
    on_session
        Another recording of the same cells, to test what is trained on the source; `matching` is the table of
        `neurodyn match`, where cells have no ids.
    settings
        As of `neurodyn decode --set KEY`: decoder, features, splits, shuffles, windows, …

    Returns
    -------
    pandas.DataFrame
        One row per score, or point of a curve: value with interval, null, p, n, and a note.
    """
    import pandas as pd

    from neurodyn.data.curves import curve_file
    from neurodyn.data.scores import Score, read_scores
    from neurodyn.decode.run import decode as run_decoding
    from neurodyn.decode.settings import DecodeConfig

    asked = {"target": target} | ({} if curve is None else {"curves": [curve]}) | settings
    with _on_disk(source) as (path, out), _beside(on_session) as other:
        told = asked if other is None else asked | {"on_session": str(other)}
        config = validate(DecodeConfig, resolve(layer_from_sets(_sets(told))))
        table = run_decoding(path, config=config, out=out)
        if curve is not None:
            return pd.read_csv(table.with_name(curve_file(curve, table.stem.removeprefix("scores"))))
        scores = read_scores(table)
    rows = [asdict(score) for score in scores if folds or score.fold == "all"]
    return pd.DataFrame(rows, columns=[field.name for field in fields(Score)])


def respond(recording: Source, target: str | None = None, *, trials: bool = False, **settings: Any) -> xr.Dataset:
    """Measure how cells respond to events, and how they are tuned to a stimulus or behaviour.

    Parameters
    ----------
    target
        Stimulus or behaviour column, or two with a comma (default: events alone).
    trials
        Whether to keep every aligned trial of traces, too, as `trials`.
    settings
        As of `neurodyn respond --set KEY`: variable, window, measure, shuffles, …

    Returns
    -------
    xarray.Dataset
        What was tested and found per cell, tuning curves with intervals, the response of every event and mean courses;
        `neurodyn.respond.output.cell_table` makes a pandas table of it, a row per cell.

    Raises
    ------
    NeurodynError
        As `neurodyn respond` would.
    """
    import numpy as np

    from neurodyn.respond.run import respond as ask
    from neurodyn.respond.settings import RespondConfig

    config = validate(RespondConfig, resolve(layer_from_sets(_sets({"target": target} | settings))))
    blocks: list[np.ndarray] = []
    found = ask(_opened(recording), config, (lambda _, block: blocks.append(block)) if trials else None)
    if not blocks:
        return found
    return found.assign(trials=(("event", "time", *found["peak_response"].dims), np.concatenate(blocks)))


def report(sources: str | Path | Sequence[str | Path], out: str | Path) -> Path:
    """Write what was done and what came out, of recordings, runs and tables on disk, as one HTML page."""
    from neurodyn.report.page import report as write_report

    given = [sources] if isinstance(sources, str | Path) else sources
    return write_report([Path(one) for one in given], Path(out))


def view(recording: Source, *, cells: str | Path | None = None, responses: str | Path | None = None) -> Window:
    """Show movie, cells, traces and event averages in the notebook; cells are kept, dropped and merged with the keyboard.

    Parameters
    ----------
    recording
        A recording, in memory or on disk, or a run folder, whose model is shown beside the traces.
    cells
        Log of the curation (default: cells.csv beside the recording, here where that is in memory).
    responses
        What `neurodyn respond` wrote of these cells: a folder, or its store.

    Returns
    -------
    Window
        Displays itself; `url` opens it in a browser, `export(path)` writes it as one file, `close()` ends it.

    Raises
    ------
    DataError
        If the recording cannot be read, or the log is not one of its session.
    """
    from neurodyn.view.scene import open_scene, scene_of, with_tuning
    from neurodyn.view.window import Window

    scene = scene_of(recording) if isinstance(recording, Recording) else open_scene(Path(recording))
    if responses is not None:
        scene = with_tuning(scene, Path(responses))
    return Window(scene, Path(cells) if cells is not None else scene.log).start()


def _opened(recording: Source) -> Recording:
    return recording if isinstance(recording, Recording) else open(recording)


def _saved(recording: Recording, folder: Path) -> Path:
    if recording.path is not None:
        return recording.path
    folder.mkdir(parents=True, exist_ok=True)
    return recording.save(folder / f"{recording.session}.zarr")


@contextmanager
def _on_disk(source: Source) -> Iterator[tuple[Path, Path | None]]:
    """Yield the path of a source, and where its table is to go: of recordings into a folder that is gone afterwards."""
    if not isinstance(source, Recording) and not str(source).endswith(".zarr"):
        yield Path(source), None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _saved(_opened(source), Path(folder)), Path(folder) / "scores"


@contextmanager
def _beside(source: Source | None) -> Iterator[Path | None]:
    """Yield the path of another recording, if there is one."""
    if source is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _saved(_opened(source), Path(folder))


def _sets(settings: Mapping[str, Any] | None) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
