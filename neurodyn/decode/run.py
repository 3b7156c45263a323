"""Decode a run or a recording and write one table of scores."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import ConfigError
from neurodyn.core.files import clear_partials, locked, write_json
from neurodyn.core.log import Report, silent, within
from neurodyn.core.provenance import version
from neurodyn.data.curves import KINDS, Curve, curve_file, write_curves
from neurodyn.data.guesses import Guesses, write_guesses
from neurodyn.data.scores import Score, write_scores
from neurodyn.decode.across import across
from neurodyn.decode.check import opened_for
from neurodyn.decode.curves import make_curves
from neurodyn.decode.features import build_forms, feature_names, is_model, reference_names
from neurodyn.decode.gaps import labelled
from neurodyn.decode.labels import Labels
from neurodyn.decode.projection import fit_projection
from neurodyn.decode.protocol import cross_validate
from neurodyn.decode.sessions import open_pair
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.sliding import check_curves
from neurodyn.decode.source import Source
from neurodyn.decode.tasks import default_decoder

LOGGER = logging.getLogger(__name__)


def decode(source: Path, *, config: DecodeConfig, out: Path | None = None, progress: Report = silent) -> Path:
    """Decode a target from every feature asked for and from the raw baselines, all on the same windows.

    Parameters
    ----------
    source
        A run folder with a prediction, or a recording.
    out
        Folder for the table; the run folder itself by default, "NAME.decode" beside a bare recording, "A-on-B.decode" where
        another session is tested.
    progress
        Called with what is decoded from what, and the share of it all that is done.

    Returns
    -------
    pathlib.Path
        The table of scores. `decode.json` beside it says how it was made, `guesses.csv` what was guessed of every sample,
        `curve_time.csv` and so on hold the curves that were asked for.

    Raises
    ------
    DataError
        If source, target or features are missing or invalid.
    ConfigError
        If decoder, task and windows do not fit together.
    """
    if config.on_session is not None:
        return _decode_pair(source, config, out, progress)
    opened, config = opened_for(source, config)
    folder = out or (source if opened.prediction is not None else source.with_suffix(".decode"))
    scores: list[Score] = []
    guesses: list[Guesses] = []
    made: list[dict[str, Any]] = []
    curves: list[Curve] = []
    sessions = list(opened.sessions())
    for number, session in enumerate(sessions):
        tell = within(progress, number, len(sessions))
        usable, labels = labelled(session, config)
        check_curves(usable, labels, config)
        part, guessed, summary = _decode_session(usable, labels, config, within(tell, 0, 2) if config.curves else tell)
        scores += part
        guesses += guessed
        made.append(summary)
        curves += make_curves(usable, labels, config, within(tell, 1, 2))
    return _write(folder, source, config, _Decoded(scores, guesses, made, curves))


def _decode_pair(source: Path, config: DecodeConfig, out: Path | None, progress: Report) -> Path:
    """Test on another session what is trained on this one, beside what is both trained and tested there."""
    pair = open_pair(source, config)
    LOGGER.info("decoding %s of %s: %s", pair.asked.name, pair.asked.session, pair.words)
    tell = within(progress, 0, 2)
    scores, guesses = across(pair, lambda share: tell(f"{pair.asked.name} across sessions", share))
    inside, more, summary = _decode_session(pair.test, pair.asked, pair.config, within(progress, 1, 2))
    folder = out or source.with_name(f"{source.stem}-on-{Path(str(config.on_session)).stem}.decode")
    made = [summary | {"across": pair.words}]
    return _write(folder, source, pair.config, _Decoded([*inside, *scores], [*more, guesses], made, []))


@dataclass(frozen=True)
class _Decoded:
    scores: list[Score]
    guesses: list[Guesses]
    sessions: list[dict[str, Any]]
    curves: list[Curve]


def _write(folder: Path, source: Path, config: DecodeConfig, found: _Decoded) -> Path:
    suffix = "" if config.name == "scores" else f"-{config.name}"
    table = folder / f"scores{suffix}.csv"
    with locked(table):
        clear_partials(table)
        write_json(
            folder / f"decode{suffix}.json",
            {
                "source": str(source),
                "version": version(),
                "config": config.model_dump(mode="json"),
                "protocols": [protocol.model_dump(mode="json") for protocol in config.protocols()],
                "sessions": found.sessions,
            },
        )
        write_guesses(folder / f"guesses{suffix}.csv", found.guesses)
        _write_curves(folder, suffix, found.curves)
        return write_scores(table, found.scores)


def _write_curves(folder: Path, suffix: str, curves: list[Curve]) -> None:
    """Write a table for each kind of curve, and remove those that an earlier decoding of the same name left."""
    for kind in KINDS:
        mine, path = [curve for curve in curves if curve.kind == kind], folder / curve_file(kind, suffix)
        if mine:
            write_curves(path, mine)
        else:
            path.unlink(missing_ok=True)


def _decode_session(
    source: Source, labels: Labels, config: DecodeConfig, progress: Report
) -> tuple[list[Score], list[Guesses], dict[str, Any]]:
    decoder = default_decoder(config, labels.task)
    names = feature_names(source, config)
    against = reference_names(config, names)
    fit = cache(partial(fit_projection, source, config))
    features = {name: build_forms(name, source, config, fit) for name in names}
    models = {name: source.model if is_model(name) else "none" for name in names}
    scores: list[Score] = []
    guesses: list[Guesses] = []
    protocols = config.protocols()
    for number, protocol in enumerate(protocols):
        if protocol.split == "trial" and labels.unit != "trials":
            raise ConfigError(
                f"Target '{labels.name}' has no trials to split by.",
                "Behaviour is cut into segments of time, whose neighbours share their course.",
                "Use --split blocked",
            )
        LOGGER.info("decoding %s of %s, %s split", labels.name, labels.session, protocol.split)
        tell = within(progress, number, len(protocols))
        part = cross_validate(
            features,
            labels,
            decoder=decoder,
            params=config.params,
            protocol=protocol,
            models=models,
            against=against,
            progress=tell,
        )
        scores += [replace(score, note=_with_split(score, source)) for score in part.scores]
        guesses.append(part.guesses)
    summary = {
        "session": labels.session,
        "task": labels.task,
        "taken": labels.taken,
        "decoder": decoder,
        "samples": len(labels.target),
        labels.unit: len(set(labels.groups.tolist())),
        "features": {
            name: max(int(np.prod(values.shape[1:])) for values in forms.values()) for name, forms in features.items()
        },
        "note": labels.note,
    }
    return scores, guesses, summary


def _with_split(score: Score, source: Source) -> str:
    """Warn when the model itself saw neighbours of the decoded windows."""
    if score.fold != "all" or source.prediction is None or source.windows.config.split != "random":
        return score.note
    return "; ".join(filter(None, (score.note, "the model was trained on a random split of overlapping windows")))
