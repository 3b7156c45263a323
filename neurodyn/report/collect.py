"""Turn folders into parts of a report; what is not there is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import read_json
from neurodyn.data.curves import Curve, curves_in
from neurodyn.data.guesses import Guesses, read_guesses
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score, read_scores
from neurodyn.decode.curve_words import curve_sentence
from neurodyn.report.activity import activity_section
from neurodyn.report.blocks import Block, Cited, Items, Part, Section, Table, Text, number
from neurodyn.report.cells import cells_section
from neurodyn.report.decoding import decoding_section, decoding_summary
from neurodyn.report.evaluation import evaluation_part
from neurodyn.report.hidden import hidden_figure, hidden_summary
from neurodyn.report.history import history_sentences
from neurodyn.report.methods import decoding_sentences, model_sentences
from neurodyn.report.model import (
    attention_figure,
    curves_figure,
    prediction_figure,
    read_curves,
    reconstruction_table,
    stability_text,
)
from neurodyn.report.provenance import config_section, provenance_section
from neurodyn.report.quality import quality_section
from neurodyn.report.responses import responses_part
from neurodyn.report.signals import best_variable, data_table, signals_section
from neurodyn.respond.output import STORE
from neurodyn.runs.folder import PREDICTION, RunFolder
from neurodyn.runs.health import Health
from neurodyn.runs.prediction import Prediction
from neurodyn.runs.windows import open_recordings


@dataclass
class Folder:
    """Everything a folder holds that a report can show; what is absent is None or empty.

    Parameters
    ----------
    path
        The folder.
    missing
        Sentences on what is not there; filled while reading.
    """

    path: Path
    missing: list[str] = field(default_factory=list)

    def record(self, name: str, why: str) -> dict[str, Any]:
        """Read a JSON file, or note that it is missing."""
        if (self.path / name).is_file():
            return read_json(self.path / name)
        self.missing.append(f"{name}: {why}")
        return {}

    def scores(self) -> tuple[list[Score], list[dict[str, Any]]]:
        """Read every decoding table and the record beside it."""
        tables = sorted(self.path.glob("scores*.csv"))
        records = [table.with_name(table.name.replace("scores", "decode", 1)).with_suffix(".json") for table in tables]
        rows = [score for table in tables for score in read_scores(table)]
        return rows, [read_json(record) for record in records if record.is_file()]

    def guesses(self) -> list[Guesses]:
        """Read what decoders guessed."""
        return [table for path in sorted(self.path.glob("guesses*.csv")) for table in read_guesses(path)]

    def curves(self) -> list[Curve]:
        """Read the curves of decodings."""
        return curves_in(self.path)

    @property
    def run(self) -> RunFolder:
        """The folder as that of a run."""
        return RunFolder(self.path)

    def recordings(self) -> list[Recording]:
        """Open the recordings a run was trained on, noting those that are gone.

        Raises
        ------
        DataError
            If one has changed since.
        """
        known = self.run.inputs
        gone = [name for name in known if not self.run.locate(name).exists()]
        self.missing += [f"recording {name}: it is no longer there, so its signals cannot be shown." for name in gone]
        return open_recordings(self.run, {name: then for name, then in known.items() if name not in gone})

    def prediction(self) -> Prediction | None:
        """Open the prediction, or note that it is missing."""
        if not (self.path / PREDICTION).is_dir():
            self.missing.append(
                f"prediction.zarr: no held-out windows were predicted. Make it: neurodyn infer {self.path}"
            )
            return None
        return Prediction.open(self.run)


def collect(path: Path, beside: Sequence[Path] = ()) -> Part:
    """Read a run folder, a recording, or a folder with scores.

    Parameters
    ----------
    path
        The folder.
    beside
        Other folders on the page: what their models fill in is told beside a run's own.

    Raises
    ------
    DataError
        If it is none of them, or a file in it is damaged.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Expected a run folder, a recording or scores.", "Check the path.")
    if RunFolder(path).begun:
        return _run_part(Folder(path), beside)
    if (path / STORE).is_dir():
        return responses_part(path)
    if (path / "zarr.json").is_file():
        return _recording_part(Recording.open(path))
    if path.is_dir() and list(path.glob("scores*.csv")):
        return _scores_part(Folder(path))
    raise DataError(
        f"{path} holds nothing to report.",
        "Expected config.yaml (a run), a recording, responses, or scores*.csv.",
        "Give a run folder: neurodyn report RUN",
    )


def _recording_part(recording: Recording) -> Part:
    first = cells_section(recording) or activity_section(recording, best_variable(recording))
    return Part(
        title=recording.session,
        subtitle="Recording",
        summary=[_recording_sentence(recording)],
        sections=[*([first] if first else []), *_recorded([recording], None, plane=first is None)],
        methods=history_sentences(recording),
    )


def _recorded(recordings: list[Recording], variable: str | None, *, plane: bool = True) -> list[Section]:
    """Return the sections on what was recorded, and whether it can be trusted; `plane`: with the ROIs in it."""
    if not recordings:
        return []
    sections = [_data_section(recordings)]
    for recording in recordings:
        quality = quality_section(recording, plane=plane)
        sections += [signals_section(recording, variable), *([quality] if quality else [])]
    return sections


def _recording_sentence(recording: Recording) -> str:
    first = recording.neural[recording.variables[0]]
    space = " × ".join(map(str, first.shape[1:])) + (" pixels" if first.ndim == 3 else " ROIs")
    span = recording.time[-1] - recording.time[0]
    table = recording.table("stimulus")
    events = "" if table is None else f", {table.sizes.get('event', 0)} stimulus events"
    return f"{recording.session}: {span:.0f} s at {recording.rate_hz:g} Hz, {space}{events}."


def _data_section(recordings: list[Recording]) -> Section:
    blocks: list[Block] = [data_table(recordings)]
    for recording in recordings:
        steps = history_sentences(recording)
        if steps:
            blocks += [Text(f"What was done to {recording.session}, in order:"), Items(steps, ordered=True)]
        else:
            blocks.append(Text(f"No processing is recorded for {recording.session}."))
    return Section("Data", blocks)


def _scores_part(folder: Folder) -> Part:
    scores, records = folder.scores()
    if (folder.path / "evaluate.json").is_file():
        return evaluation_part(folder.path.name, scores, read_json(folder.path / "evaluate.json"))
    if not records:
        folder.missing.append("decode.json: how the scores were made is not recorded.")
    return Part(
        title=folder.path.name,
        subtitle="Decoding",
        summary=[*decoding_summary(scores), *map(curve_sentence, folder.curves())],
        sections=[decoding_section(scores, folder.guesses(), folder.curves())] if scores else [],
        missing=folder.missing,
        methods=decoding_sentences(scores, records),
    )


def _run_part(folder: Folder, beside: Sequence[Path]) -> Part:
    config = folder.run.settings
    card = folder.record("model.json", "the model's size and source are not known.")
    status = folder.record("status.json", "training did not end, or is still going on.")
    provenance = folder.record("provenance.json", "who made this, from what and when is not known.")
    recordings = folder.recordings()
    variable = str((config.get("windows") or {}).get("variable", "dff"))
    prediction = folder.prediction()
    scores, records = folder.scores()
    if not scores:
        folder.missing.append(f"scores.csv: nothing was decoded. Make it: neurodyn decode {folder.path} --target NAME")
    filled = _reconstruction(folder)
    sections = _recorded(recordings, variable)
    sections.append(_model_section(folder, status, prediction, recordings, variable, filled))
    sections += [decoding_section(scores, folder.guesses(), folder.curves())] if scores else []
    sections += [config_section(config, provenance), provenance_section(provenance)]
    return Part(
        title=f"{config.get('name') or config.get('backend')}: {', '.join(r.session for r in recordings) or folder.path.name}",
        subtitle="Run",
        summary=[
            *_health_summary(status),
            *decoding_summary(scores),
            *map(curve_sentence, folder.curves()),
            *hidden_summary(filled, beside),
            *_training_summary(status),
        ],
        sections=sections,
        missing=folder.missing,
        methods=[
            *_once(sentence for recording in recordings for sentence in history_sentences(recording)),
            *model_sentences(config, card),
            *decoding_sentences(scores, records),
        ],
    )


def _once(sentences: Iterable[Cited]) -> list[Cited]:
    """Return each sentence once: what several recordings share."""
    return list({sentence.text: sentence for sentence in sentences}.values())


def _reconstruction(folder: Folder) -> list[Score]:
    if (folder.path / "reconstruction.csv").is_file():
        return read_scores(folder.path / "reconstruction.csv")
    folder.missing.append(f"reconstruction.csv: hidden frames were not scored. Make it: neurodyn infer {folder.path}")
    return []


def _health_summary(status: Mapping[str, Any]) -> list[str]:
    """Say how a latent model stands beside factor analysis; nothing where that was not measured."""
    health = Health.read(status)
    return [] if health is None else [health.warning if health.unhealthy else health.sentence]


def _training_summary(status: Mapping[str, Any]) -> list[str]:
    if status.get("state") != "done":
        return ["Training is not recorded as finished."]
    best = status.get("best") or {}
    return [
        f"Training ended after {status.get('epochs', '?')} epochs; the weights kept are of epoch {best.get('epoch', '?')}."
    ]


def _model_section(
    folder: Folder,
    status: Mapping[str, Any],
    prediction: Prediction | None,
    recordings: list[Recording],
    variable: str,
    filled: list[Score],
) -> Section:
    blocks: list[Block | None] = []
    if prediction is not None and (own := _recordings_of(folder, prediction, recordings)):
        blocks += [
            prediction_figure(prediction.values, own, variable),
            attention_figure(prediction.values, own[0].brain),
        ]
    blocks += [
        hidden_figure(filled),
        reconstruction_table(filled) if filled else None,
        _curves(folder),
        stability_text(status),
    ]
    shown = [block for block in blocks if block is not None]
    return Section("Model", shown or [Text("Nothing of the model can be shown yet.", missing=True)])


def _recordings_of(folder: Folder, prediction: Prediction, recordings: list[Recording]) -> list[Recording]:
    """Return the recordings a prediction was made from: the run's own, or others named in its settings; [] if gone."""
    if not prediction.of_others:
        return recordings
    known = prediction.inputs
    if not all(prediction.run.locate(name).exists() for name in known):
        folder.missing.append(f"recordings of the prediction ({', '.join(known)}): they are no longer there.")
        return []
    return prediction.recordings()


def _curves(folder: Folder) -> Block | None:
    path = folder.path / "metrics.csv"
    if not path.is_file():
        folder.missing.append("metrics.csv: there are no training curves.")
        return None
    curves = read_curves(path)
    figure = curves_figure(curves)
    if figure is not None or not curves:
        return figure
    names = [name for name in curves if np.isfinite(curves[name]).any()]
    rows = [[name, number(float(curves[name][-1]), 5)] for name in names]
    return Table("Loss after the only epoch.", ["Part", "Value"], rows, frozenset({1}))
