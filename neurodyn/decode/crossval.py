"""Cross-validation with tuning inside: predictions of every fold, and of folds without a stretch of their trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.design import Design
from neurodyn.decode.intervals import Refits, leave_out, stacked
from neurodyn.decode.labels import Labels
from neurodyn.decode.reduce import Division, FoldPCA, Plain, Reduction, Rotation
from neurodyn.decode.scaling import without_trend
from neurodyn.decode.scoring import trial_sums
from neurodyn.decode.settings import Protocol
from neurodyn.decode.splits import Fold

Forms = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Guesses:
    """How good predictions were.

    Parameters
    ----------
    sums
        Sums over folds, shape (repeat, trial, column, sum), as from `trial_sums`.
    folds
        Of each fold, sums over its trials for the true labels, shape (fold, sum).
    refits
        How true labels' predictions change without a stretch of trials; None where that was not asked for.
    taken
        The form of the features that each fold's training samples chose for the true labels.
    guessed
        Prediction of the true labels by the first repeat, shape (sample,); NaN where a sample was not tested.
    """

    sums: np.ndarray
    folds: np.ndarray
    refits: Refits | None
    taken: tuple[str, ...]
    guessed: np.ndarray


@dataclass(frozen=True)
class _Option:
    """A form of the features: its rows in one fold, and the settings to compare."""

    form: str
    rows: Division
    candidates: list[Any]


@dataclass(frozen=True)
class CrossValidation:
    """A decoder with its settings, labels with those of the null, and how they are divided."""

    decoder: type[Decoder]
    params: Any
    labels: Labels
    design: Design
    protocol: Protocol

    @property
    def task(self) -> Task:
        """What is to be done."""
        return self.labels.task

    def run(self, forms: Forms, tell: Callable[[float], None], refitted: bool) -> Guesses:
        """Predict every test sample's labels, and those of the null, from features.

        Parameters
        ----------
        forms
            Name -> features, shape (sample, feature) or (sample, time, feature). Of several forms of the same content,
            each fold takes the one that is best inside its training samples; the first where nothing is tuned.
        tell
            Called after every fold with the share of folds that is done.
        refitted
            Whether to train anew without each stretch of trials, too.
        """
        compared = forms if self.protocol.tune else dict(list(forms.items())[:1])
        made = {name: self._reduction(values) for name, values in compared.items()}
        sums: list[np.ndarray] = []
        single, refits, taken = [], [], []
        guessed = np.full(len(self.labels.target), np.nan)
        for fold, inner in zip(self.design.folds, self.design.inner, strict=True):
            if self.protocol.detrend:
                made = {
                    name: self._reduction(without_trend(values, self.labels.times, fold.train))
                    for name, values in compared.items()
                }
            options = [self._option(name, *one, fold, inner) for name, one in made.items()]
            predicted, chosen, best = self._tuned(options, self.design.columns[fold.train], inner)
            found = self._sums(fold, predicted)
            if fold.repeat == len(sums):
                sums.append(np.zeros_like(found))
            sums[fold.repeat] += found
            single.append(found[:, 0].sum(axis=0))
            taken.append(chosen.form)
            if fold.repeat == 0:
                guessed[fold.test] = predicted[:, 0]
            if refitted:
                refits.append(self._left_out(fold, found[:, 0], best, chosen.rows))
            tell(len(single) / len(self.design.folds))
        left_out = stacked(refits) if refits else None
        return Guesses(np.stack(sums), np.stack(single), left_out, tuple(taken), guessed)

    def _option(
        self, form: str, reduction: Reduction, params: Any, fold: Fold, inner: list[tuple[np.ndarray, np.ndarray]]
    ) -> _Option:
        candidates = self.decoder.candidates(params) if self.protocol.tune else [params]
        return _Option(form, reduction.divide(fold.train, fold.test, inner), candidates)

    def _reduction(self, values: np.ndarray) -> tuple[Reduction, Any]:
        """Return what makes the rows of a fold, and the decoder's settings for such rows.

        Component scores keep their relative variance: z-scored, those of no variance would count as much as the first.
        """
        params, protocol = self.params, self.protocol
        standardise = getattr(params, "standardise", None)
        unscaled = params if standardise is None else params.model_copy(update={"standardise": False})
        if protocol.pca is not None:
            return FoldPCA(values, protocol.pca, unit_variance=standardise is not None), unscaled
        if values.shape[-1] <= protocol.wide:
            return Plain(values), params
        rotated = self.decoder.on_rotated(params, protocol.wide)
        if rotated is not None and values.ndim == 2:
            return Rotation(values, standardise is not False, protocol.wide), rotated
        return FoldPCA(values, protocol.wide_pca), params

    def _tuned(
        self, options: Sequence[_Option], targets: np.ndarray, inner: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, _Option, Any]:
        """Predict with the form and setting that are best inside the training samples, per column where that is cheap.

        Where it is not, shuffles use what is chosen for the true labels; their test labels play no part in either.
        Also returns the form and the setting of the first column.
        """
        tried = targets if self.decoder.vectorised else targets[:, :1]
        alone = len(options) == 1 and len(options[0].candidates) == 1
        losses = [np.zeros((1, tried.shape[1]))] if alone else [self._losses(one, tried, inner) for one in options]
        which = np.argmin([loss.min(axis=0) for loss in losses], axis=0)
        first = options[which[0]]
        best = first.candidates[losses[which[0]][:, 0].argmin()]
        if not self.decoder.vectorised:
            return self._predict(first, [best], targets)[0], first, best
        predicted = np.empty((len(first.rows.test), targets.shape[1]))
        for k in np.unique(which):
            mine = which == k
            path = self._predict(options[k], options[k].candidates, targets[:, mine])
            predicted[:, mine] = path[losses[k][:, mine].argmin(axis=0), :, np.arange(mine.sum())].T
        return predicted, first, best

    def _losses(self, option: _Option, tried: np.ndarray, inner: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Return the error inside the training samples, shape (candidate, column)."""
        loss = np.zeros((len(option.candidates), tried.shape[1]))
        for (fit, held), (fitted, tested) in zip(inner, option.rows.inner, strict=True):
            path = self.decoder.predict_path(option.candidates, self.task, fitted, tried[fit], tested)
            loss += _loss(self.task, tried[held], path)
        return loss

    def _predict(self, option: _Option, candidates: list[Any], targets: np.ndarray) -> np.ndarray:
        return self.decoder.predict_path(candidates, self.task, option.rows.train, targets, option.rows.test)

    def _sums(self, fold: Fold, predicted: np.ndarray) -> np.ndarray:
        columns, groups = self.design.columns, self.design.groups
        mean = np.broadcast_to(columns[fold.train].mean(axis=0), predicted.shape)
        shape = (int(groups.max()) + 1, self.design.classes.size)
        period = self.labels.circle.degrees
        return trial_sums(self.task, columns[fold.test], predicted, mean, groups[fold.test], shape, period)

    def _left_out(self, fold: Fold, before: np.ndarray, params: Any, rows: Division) -> Refits:
        """Train a fold again without each stretch of trials, with the settings that were chosen with it."""

        def predict(kept: np.ndarray, tested: np.ndarray, target: np.ndarray) -> np.ndarray:
            return self.decoder.predict_path([params], self.task, rows.train[kept], target, rows.test[tested])[0]

        target, groups, classes = self.design.columns[:, 0], self.design.groups, self.design.classes.size
        return leave_out(predict, self.task, fold, target, before, groups, classes, self.labels.circle.degrees)


def _loss(task: Task, truth: np.ndarray, path: np.ndarray) -> np.ndarray:
    if task == "classify":
        wrong = truth != path
    else:
        wrong = (truth - path) ** 2 if task == "regress" else 1 - np.cos(truth - path)
    return wrong.sum(axis=1)
