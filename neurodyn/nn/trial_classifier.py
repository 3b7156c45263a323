"""Recurrent networks that name the class of a whole trial, and their training, many label sets at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neurodyn.nn.optimisers import Adam
from neurodyn.nn.recurrent import loop


@dataclass(frozen=True)
class Fitting:
    """How a trial classifier is made and trained.

    Parameters
    ----------
    hidden
        Width of the state of each direction.
    dropout
        Share of inputs and of final states left out in training.
    lr
        Learning rate of Adam.
    batch
        Trials per step.
    epochs, patience
        Passes over the trials at most, and passes without a smaller loss on the stopping trials before the end.
    seed
        Seed of weights, order and dropout; every network of a set has the same.
    """

    hidden: int
    dropout: float
    lr: float
    batch: int
    epochs: int
    patience: int
    seed: int


class TrialClassifiers(nn.Module):
    r"""Bidirectional gated recurrent units read out at their ends, one network per label set.

        logits = W dropout([h_forth(last), h_back(first)]) + b,  h from dropout(x)

    with learned initial states that begin at 0. The networks share nothing but the random numbers they start from; side
    by side they cost little more than one, since a step's cost is its overhead.
    Source: the trial decoder of Prince et al., CaLFADS (2020), for expected and unexpected stimuli.

    Parameters
    ----------
    networks
        Number of networks.
    inputs, hidden, classes
        Widths of the input, of one direction's state and of the output.
    """

    def __init__(self, networks: int, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        fan = inputs + hidden
        bias = torch.cat([torch.ones(2 * hidden), torch.zeros(hidden)])
        drawn = {
            "input": torch.randn(2, inputs, 3 * hidden) * fan**-0.5,
            "recurrent": torch.randn(2, hidden, 3 * hidden) * fan**-0.5,
            "bias": bias.expand(2, 1, -1),
            "initial": torch.zeros(2, 1, hidden),
            "output": (2 * torch.rand(2 * hidden, classes) - 1) * (2 * hidden) ** -0.5,
            "offset": (2 * torch.rand(1, classes) - 1) * (2 * hidden) ** -0.5,
        }
        self.weights = nn.ParameterDict(
            {name: nn.Parameter(value.expand(networks, *value.shape).clone()) for name, value in drawn.items()}
        )

    def forward(
        self,
        x: Float[Tensor, "time network batch inputs"],
        kept: tuple[Tensor | float, Tensor | float] = (1.0, 1.0),
    ) -> Float[Tensor, "network batch classes"]:
        """Return the logits of each trial's class; `kept` multiplies inputs and final states."""
        w, x = self.weights, x * kept[0]
        ways = torch.stack([x, x.flip(0)], dim=2)  # both directions step side by side, as if they were networks
        initial = w["initial"].expand(-1, -1, x.shape[2], -1)
        last = loop(ways, w["input"], w["bias"], w["recurrent"], initial, False)[-1]
        return (last.transpose(1, 2).flatten(2) * kept[1]) @ w["output"] + w["offset"]

    @torch.no_grad()
    def probabilities(self, trials: np.ndarray) -> np.ndarray:
        """Return the probability of each class, shape (network, trial, class), of trials, shape (trial, time, input)."""
        x = _time_first(trials)[:, None].expand(-1, len(self.weights["offset"]), -1, -1)
        return torch.softmax(self(x), dim=-1).numpy()


def fit_trial_classifiers(
    trials: np.ndarray, labels: np.ndarray, stopping: np.ndarray, settings: Fitting
) -> TrialClassifiers:
    """Train a network per label set on the trials that are not for stopping, and keep its weights that were best on those that are.

    The loss is the cross-entropy with every class of equal weight, whatever its share of the trials.

    Parameters
    ----------
    trials
        Shape (trial, time, input), standardised.
    labels
        Classes from 0, shape (network, trial).
    stopping
        Trials held back for early stopping, bool, shape (network, trial); where there are none, training trials decide.

    Returns
    -------
    TrialClassifiers
        The trained networks; the same seed gives the same ones, whatever stands beside them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        nets = TrialClassifiers(len(labels), trials.shape[2], settings.hidden, int(labels.max()) + 1)
        _Training(nets, trials, labels, stopping, settings).run()
    return nets


class _Training:
    """The training of a set of networks, each on its own trials until it stops."""

    def __init__(
        self, nets: TrialClassifiers, trials: np.ndarray, labels: np.ndarray, stopping: np.ndarray, settings: Fitting
    ) -> None:
        self.nets, self.settings = nets, settings
        self.x, self.labels = _time_first(trials), torch.from_numpy(labels)
        classes = nets.weights["offset"].shape[-1]
        self.fitted = [np.flatnonzero(~held) for held in stopping]
        self.balance = torch.stack([class_weights(self.labels[k, rows], classes) for k, rows in enumerate(self.fitted)])
        watched = [
            np.flatnonzero(held) if held.any() else rows for held, rows in zip(stopping, self.fitted, strict=True)
        ]
        self.watched = padded(watched)

    def run(self) -> None:
        """Train until every network has waited long enough for a smaller loss, and leave each with its best weights."""
        weights = self.nets.weights
        optimiser = Adam(weights.parameters(), self.settings.lr)
        best, waited = torch.full((len(self.fitted),), torch.inf), torch.zeros(len(self.fitted))
        kept = {name: value.detach().clone() for name, value in weights.items()}
        for epoch in range(self.settings.epochs):
            for rows in self._steps(epoch):
                optimiser.zero_grad()
                self._loss(rows, self._dropout(rows.shape[1])).sum().backward()
                optimiser.step()
            with torch.no_grad():
                loss = self._loss(self.watched, (1.0, 1.0))
            better = (loss < best) & (waited < self.settings.patience)
            best, waited = torch.where(better, loss, best), torch.where(better, 0.0, waited + 1)
            for name, value in weights.items():
                kept[name][better] = value.detach()[better]
            if (waited >= self.settings.patience).all():
                break
        for name, value in weights.items():
            value.data = kept[name]

    def _steps(self, epoch: int) -> list[Tensor]:
        """Return the trials of each step, shape (network, trial), -1 where a network has none left."""
        rng = [np.random.default_rng([self.settings.seed, epoch]) for _ in self.fitted]  # one order for one length
        order = padded([own.permutation(rows) for own, rows in zip(rng, self.fitted, strict=True)])
        return list(order.split(self.settings.batch, dim=1))

    def _dropout(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw what is left out in a step, the same for all networks, whatever the number of trials."""
        share, most = 1 - self.settings.dropout, self.settings.batch
        inputs = torch.rand(len(self.x), 1, most, self.x.shape[2]) < share
        states = torch.rand(1, most, 2 * self.settings.hidden) < share
        return inputs[:, :, :count] / share, states[:, :count] / share

    def _loss(
        self, rows: Int[Tensor, "network trial"], kept: tuple[Tensor | float, Tensor | float]
    ) -> Float[Tensor, " network"]:
        """Return every network's mean cross-entropy over trials, weighted by class."""
        there, rows = rows >= 0, rows.clamp(min=0)
        truth = self.labels.gather(1, rows)
        logits = self.nets(self.x[:, rows], kept)
        wrong = nn.functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
        weight = self.balance.gather(1, truth) * there
        return (weight * wrong).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-12)


def padded(rows: list[np.ndarray]) -> Int[Tensor, "network trial"]:
    """Return lists of trials as one table, -1 beyond the end of each."""
    table = np.full((len(rows), max(map(len, rows))), -1)
    for k, own in enumerate(rows):
        table[k, : len(own)] = own
    return torch.from_numpy(table)


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Return the reciprocal of each class's share, so that every class weighs the same."""
    return len(labels) / (classes * torch.bincount(labels, minlength=classes).clamp(min=1)).float()


def _time_first(trials: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(trials.transpose(1, 0, 2), dtype=np.float32))
