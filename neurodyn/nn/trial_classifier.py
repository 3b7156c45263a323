"""A recurrent network that names the class of a whole trial, and its training."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.nn.recurrent import Bidirectional


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
        Seed of weights, order and dropout.
    """

    hidden: int
    dropout: float
    lr: float
    batch: int
    epochs: int
    patience: int
    seed: int


class TrialClassifier(nn.Module):
    r"""A bidirectional gated recurrent unit read out at its ends.

        logits = W dropout([h_forth(last), h_back(first)]) + b,  h from dropout(x)

    with learned initial states that begin at 0.
    Source: the trial decoder of Prince et al., CaLFADS (2020), for expected and unexpected stimuli.

    Parameters
    ----------
    inputs, hidden, classes
        Widths of the input, of one direction's state and of the output.
    dropout
        Share of inputs and of final states left out in training.
    """

    def __init__(self, inputs: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.recurrent = Bidirectional(inputs, hidden)
        self.output = nn.Linear(2 * hidden, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of each trial's class."""
        return self.output(self.dropout(self.recurrent(self.dropout(x))[1]))

    @torch.no_grad()
    def probabilities(self, trials: np.ndarray) -> np.ndarray:
        """Return the probability of each class, shape (trial, class), of trials of shape (trial, time, input)."""
        self.eval()
        return torch.softmax(self(_time_first(trials)), dim=1).numpy()


def fit_trial_classifier(
    trials: np.ndarray, labels: np.ndarray, stopping: np.ndarray, settings: Fitting
) -> TrialClassifier:
    """Train on the trials that are not for stopping, and keep the weights that were best on those that are.

    The loss is the cross-entropy with every class of equal weight, whatever its share of the trials.

    Parameters
    ----------
    trials
        Shape (trial, time, input), standardised.
    labels
        Classes from 0, shape (trial,).
    stopping
        Trials held back for early stopping, bool, shape (trial,); where there are none, training trials decide.

    Returns
    -------
    TrialClassifier
        The trained network; the same seed gives the same one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = TrialClassifier(trials.shape[2], settings.hidden, int(labels.max()) + 1, settings.dropout)
        _train(net, _time_first(trials), torch.from_numpy(labels), torch.from_numpy(stopping), settings)
    return net


def _train(net: TrialClassifier, x: Tensor, labels: Tensor, stopping: Tensor, settings: Fitting) -> None:
    optimiser = torch.optim.Adam(net.parameters(), settings.lr)
    balanced = nn.CrossEntropyLoss(_class_weights(labels[~stopping], net.output.out_features))
    watched = stopping if stopping.any() else ~stopping
    fitted = torch.nonzero(~stopping).squeeze(1)
    best, kept, waited = float("inf"), deepcopy(net.state_dict()), 0
    for _ in range(settings.epochs):
        net.train()
        for rows in fitted[torch.randperm(len(fitted))].split(settings.batch):
            optimiser.zero_grad()
            balanced(net(x[:, rows]), labels[rows]).backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            loss = float(balanced(net(x[:, watched]), labels[watched]))
        waited = 0 if loss < best else waited + 1
        if loss < best:
            best, kept = loss, deepcopy(net.state_dict())
        if waited >= settings.patience:
            break
    net.load_state_dict(kept)


def _class_weights(labels: Tensor, classes: int) -> Tensor:
    """Return the reciprocal of each class's share, so that every class weighs the same."""
    return len(labels) / (classes * torch.bincount(labels, minlength=classes).clamp(min=1)).float()


def _time_first(trials: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(trials.transpose(1, 0, 2), dtype=np.float32))
