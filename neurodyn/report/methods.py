"""A methods paragraph, from what the files say was done; every sentence with the sources that it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurodyn.data.scores import Score
from neurodyn.decode import DECODERS
from neurodyn.report.blocks import Cited

SPLITS = {
    "trial": "whole trials assigned to folds at random",
    "blocked": "contiguous blocks of trials (trials left out of training on each side of a test block: {gap})",
    "random": "windows assigned at random, which lets neighbours of test windows into training",
}
PARTS = {
    "blocked": "contiguous blocks of time",
    "stimulus_blocks": "blocks of the stimulus",
    "trial": "whole trials",
    "condition": "conditions of the stimulus",
    "column": "the parts that a stimulus column names",
    "random": "windows at random, which lets neighbours of test windows into training",
}


def model_sentences(config: Mapping[str, Any], card: Mapping[str, Any]) -> list[Cited]:
    """Say which model was trained on which windows, and how."""
    windows, training = config.get("windows") or {}, config.get("training") or {}
    size = f" ({card['parameters']:,} trainable parameters)".replace(",", " ") if card.get("parameters") else ""
    name = config.get("name") or config.get("backend")
    sentences = [Cited(f"The model {name}{size} was fitted to {_window_words(windows)}.", [card.get("citation", "")])]
    said = _training_words(training) if card.get("parameters", 1) else ""
    return [*sentences, *([Cited(said)] if said else [])]


def _training_words(training: Mapping[str, Any]) -> str:
    words = {
        "epochs": "for at most {} epochs",
        "batch": "in batches of {} windows",
        "lr": "with a peak learning rate of {:g}",
        "seed": "from random seed {}",
    }
    told = [form.format(training[key]) for key, form in words.items() if training.get(key) is not None]
    return f"It was trained {', '.join(told)}." if told else ""


def _window_words(windows: Mapping[str, Any]) -> str:
    seconds = windows.get("duration")
    length = "" if seconds is None else f" of {seconds:g} s"
    words = f"windows{length} of '{windows.get('variable', 'dff')}'"
    fractions, split = windows.get("fractions"), windows.get("split")
    if split == "column":
        return f"{words}, divided into training, validation and test as a stimulus column says"
    if fractions:
        *first, last = (f"{100 * share:.0f} %" for share in fractions)
        shares = f"{', '.join(first)} and {last}"
        by = f" by {PARTS.get(str(split), split)}" if split else ""
        words += f", divided into training, validation and test ({shares}){by}"
    return words


def decoding_sentences(scores: Sequence[Score], records: Sequence[Mapping[str, Any]]) -> list[Cited]:
    """Say how decoding was scored, from the scores and the records beside them."""
    if not scores:
        return []
    targets = _listed(list(dict.fromkeys(score.target for score in scores)))
    decoders = list(dict.fromkeys(score.decoder for score in scores if score.decoder))
    known = DECODERS.names()
    sources = [DECODERS.get(name).citation for name in decoders if name in known]
    by = f"by {_listed(decoders)}" if decoders else "by a decoder that is not recorded"
    plural = "were" if len({score.target for score in scores}) > 1 else "was"
    sentences = [Cited(f"{targets[:1].upper()}{targets[1:]} {plural} decoded {by}.", sources)]
    protocols = [protocol for record in records for protocol in record.get("protocols", [])]
    return [*sentences, *map(Cited, dict.fromkeys(_protocol_sentence(protocol) for protocol in protocols))]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _protocol_sentence(protocol: Mapping[str, Any]) -> str:
    split = SPLITS[protocol["split"]].format(gap=protocol["gap"])
    share = protocol["test_fraction"]
    how = (
        f"{protocol['folds']}-fold cross-validation"
        if share is None
        else f"{protocol['repeats']} test sets of {share:.0%}"
    )
    tuned = "decoder settings were tuned inside each training fold, grouped by trial" if protocol["tune"] else (
        "no decoder setting was tuned"
    )  # fmt: skip
    pca = protocol["pca"]
    reduced = (
        f"features were reduced to {pca} principal components fitted inside each training fold"
        if pca
        else (
            f"features wider than {protocol['wide']} were rotated onto the axes that the training samples span (ridge, "
            f"discriminants, logistic regression and Euclidean neighbours) or reduced to {protocol['wide_pca']} principal components "
            "fitted inside each training fold (other decoders)"
        )
    )
    return (
        f"Decoding was scored by {how} with {split}; {tuned}; {reduced}; chance levels are of {protocol['shuffles']} "
        f"null labels (trials permuted where their order is random, else blocks permuted or labels shifted); intervals by "
        f"jackknife over ten stretches of trials, decoders trained again without each (recurrent decoders: by bootstrap over "
        f"trials, decoders as they were trained)."
    )
