"""What was done to a recording, in whole sentences, from its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neurodyn.data.recording import Recording
from neurodyn.preprocess import STEPS
from neurodyn.preprocess.extracted import CITATION, methods, one_photon_methods
from neurodyn.preprocess.one_photon import CITATION as ONE_PHOTON
from neurodyn.report.blocks import Cited
from neurodyn.simulate import SIMULATORS
from neurodyn.tracking.pairs import CITATION as CELLREG

Params = Mapping[str, Any]


def history_sentences(recording: Recording) -> list[Cited]:
    """Return one sentence per step of a recording's history, in order, each with its source."""
    return [_sentence(entry) for entry in recording.history]


def _sentence(entry: Params) -> Cited:
    name, params = str(entry.get("step", "?")), entry.get("params") or {}
    kind, _, what = name.partition(" ")
    note = f" {entry['note']}" if entry.get("note") else ""
    if name in STEPS.names():
        return _step(name, params, str(entry.get("version", "unknown")), note)
    if kind == "simulate" and what in SIMULATORS.names():
        seed = f" from random seed {params['seed']}" if "seed" in params else ""
        return Cited(f"The data were simulated by the generator '{what}'{seed}.", [SIMULATORS.get(what).citation])
    if name == "suite2p":
        return Cited(methods(params), [CITATION])
    if name == "match":
        return Cited(_match(params), [CELLREG])
    if name == "one_photon":
        return Cited(one_photon_methods(params), [ONE_PHOTON, CITATION])
    if kind == "read":
        return Cited(_read(what, params))
    said = OTHERS.get(name)
    return Cited(
        said(params) if said else f"The step '{name}' was applied; its settings stand in the recording's history."
    )


def _step(name: str, params: Params, version: str, note: str) -> Cited:
    step = STEPS.get(name)
    try:
        applied = step(step.Params.model_validate(params))
    except ValidationError:
        what = f"Step '{name}' was applied by neurodyn {version}, with parameters this version does not know."
        return Cited(what, [step.citation])
    return Cited(f"{applied.methods()}{note}", [applied.source])


def _read(reader: str, params: Params) -> str:
    parts = []
    if params.get("fs"):
        parts.append(f"at {params['fs']:g} frames per second, as told")
    if params.get("channels"):
        parts.append(f"interleaved channels taken in the order {', '.join(map(str, params['channels']))}")
    variables = params.get("variables") or {}
    if variables:
        parts.append(f"signals taken: {', '.join(variables)}")
    if params.get("brain"):
        parts.append("pixels outside a mask of the brain left out")
    if params.get("bin"):
        parts.append(f"pixels averaged over squares of {params['bin']} × {params['bin']}")
    told = f" ({'; '.join(parts)})" if parts else ""
    return f"The recording was read from {_article(reader)} {reader} source{told}."


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _stimulus(params: Params) -> str:
    unit = {"ms": "in milliseconds", "frame": "in frames"}.get(str(params.get("unit")), "in seconds")
    moved = f", moved by {params['offset']:g} s" if params.get("offset") else ""
    if params.get("onsets"):
        return f"Stimulus onsets were taken from a recorded signal{moved}."
    return f"Stimulus events were read from {_file(params)}, times {unit}{moved}."


def _behavior(params: Params) -> str:
    rate = f" at {params['fs']:g} samples per second" if params.get("fs") else ", one sample per frame"
    return f"Behaviour was read from {_file(params)}{rate}."


def _file(params: Params) -> str:
    return f"the file {Path(str(params['file'])).name}" if params.get("file") else "the source"


def _holes(params: Params) -> str:
    parts = ["frames that the clock says were dropped"] if params.get("gaps", True) else []
    parts += [f"{len(params['reject'])} rejected stretches of time"] if params.get("reject") else []
    parts += ["rejected pixels"] if params.get("pixels") else []
    return f"Marked as missing: {', '.join([*parts, 'what was not finite'])}."


def _impute(params: Params) -> str:
    if params.get("run"):
        return f"What was missing was filled in by the trained model of the run {Path(str(params['run'])).name}."
    return f"What was missing was filled in by '{params.get('model', '?')}', without training."


def _rois(params: Params) -> str:
    return f"{len(params.get('rows') or [])} ROIs were kept, chosen by their cells' ids."


def _curate(params: Params) -> str:
    merged, dropped = params.get("merged") or {}, params.get("dropped") or []
    joined = f", and {sum(map(len, merged.values()))} merged into {len(merged)}" if merged else ""
    return f"Cells were looked through by hand: {len(dropped)} were dropped{joined}."


def _match(params: Params) -> str:
    sessions, false = len(params.get("sessions") or []), params.get("false_positives")
    by = {"distance": "distance of their centres"}.get(str(params.get("model")), "correlation of their footprints")
    told = f"; of all matches, {false:.1%} are expected to be false" if false is not None else ""
    return (
        f"The fields of {sessions} sessions were aligned by an affine map to that of '{params.get('reference', '?')}', and cells "
        f"joined whose probability of being the same, a mixture model of the {by}, was above one half{told}."
    )


OTHERS: dict[str, Callable[[Params], str]] = {
    "curate": _curate,
    "stimulus": _stimulus,
    "behavior": _behavior,
    "holes": _holes,
    "impute": _impute,
    "rois": _rois,
}
