"""A methods paragraph and its references, from what the files say was done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score
from neurodyn.decode import DECODERS
from neurodyn.preprocess import STEPS

SPLITS = {
    "trial": "whole trials assigned to folds at random",
    "blocked": "contiguous blocks of trials (trials left out of training on each side of a test block: {gap})",
    "random": "windows assigned at random, which lets neighbours of test windows into training",
}


def history_sentences(recording: Recording) -> list[str]:
    """Return one sentence per step of a recording's history, in order."""
    return [_step_sentence(entry) for entry in recording.history]


def _step_sentence(entry: Mapping[str, Any]) -> str:
    name, params = str(entry.get("step", "?")), entry.get("params") or {}
    version = entry.get("version", "unknown")
    if name in STEPS.names():
        step = STEPS.get(name)
        try:
            return step(step.Params.model_validate(params)).methods()
        except ValidationError:
            return f"Step '{name}' was applied by neurodyn {version}, with parameters this version does not know."
    given = ", ".join(f"{key} {value}" for key, value in params.items() if value not in (None, "", [], {}))
    return f"{name[:1].upper()}{name[1:]}" + (f" ({given})." if given else ".")


def history_references(recordings: Iterable[Recording]) -> list[str]:
    """Return the sources of the steps in the recordings' histories."""
    sources = [_source(entry) for recording in recordings for entry in recording.history]
    return [source for source in sources if source]


def _source(entry: Mapping[str, Any]) -> str:
    name = str(entry.get("step"))
    if name not in STEPS.names():
        return ""
    step = STEPS.get(name)
    try:
        return step(step.Params.model_validate(entry.get("params") or {})).source
    except ValidationError:
        return step.citation


def model_sentences(config: Mapping[str, Any], card: Mapping[str, Any]) -> list[str]:
    """Say which model was trained on which windows."""
    windows, training = config.get("windows") or {}, config.get("training") or {}
    size = f" ({card['parameters']:,} trainable parameters)".replace(",", " ") if card.get("parameters") else ""
    sentences = [
        f"The model {config.get('name') or config.get('backend')}{size} was fitted to {_window_words(windows)}."
    ]
    if training:
        shown = ", ".join(f"{key} {training[key]}" for key in ("epochs", "batch", "lr", "seed") if key in training)
        sentences.append(f"Training: {shown}.")
    return sentences


def _window_words(windows: Mapping[str, Any]) -> str:
    words = f"windows of {windows.get('duration', '?')} s of '{windows.get('variable', '?')}'"
    fractions = windows.get("fractions")
    if fractions:
        shares = ", ".join(f"{100 * share:.0f} %" for share in fractions)
        words += f", divided into training, validation and test ({shares}; {windows.get('split', '?')} split)"
    return words


def decoding_sentences(scores: Sequence[Score], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how decoding was scored, from the scores and the records beside them."""
    if not scores:
        return []
    targets = ", ".join(dict.fromkeys(score.target for score in scores))
    decoders = ", ".join(dict.fromkeys(score.decoder for score in scores if score.decoder))
    sentences = [f"Decoded: {targets} (decoder: {decoders or 'not recorded'})."]
    seen: dict[str, None] = {}
    for protocol in (protocol for record in records for protocol in record.get("protocols", [])):
        seen.setdefault(_protocol_sentence(protocol))
    return [*sentences, *seen]


def _protocol_sentence(protocol: Mapping[str, Any]) -> str:
    split = SPLITS[protocol["split"]].format(gap=protocol["gap"])
    share = protocol["test_fraction"]
    how = (
        f"{protocol['folds']}-fold cross-validation"
        if share is None
        else f"{protocol['repeats']} test sets of {share:.0%}"
    )
    tuned = (
        "decoder settings tuned inside each training fold, grouped by trial" if protocol["tune"] else "nothing tuned"
    )
    pca = protocol["pca"]
    reduced = (
        f"{pca} principal components fitted inside each training fold"
        if pca
        else (
            f"features wider than {protocol['wide']} reduced to {protocol['wide_pca']} principal components fitted inside "
            "each training fold"
        )
    )
    return (
        f"Scoring: {how} with {split}; {tuned}; {reduced}; {protocol['shuffles']} shuffles of whole trials; intervals by "
        "jackknife over ten stretches of trials, decoders trained again without each."
    )


def decoder_references(scores: Iterable[Score]) -> list[str]:
    """Return the sources of the decoders used."""
    known = DECODERS.names()
    names = dict.fromkeys(score.decoder for score in scores)
    return [DECODERS.get(name).citation for name in names if name in known]
