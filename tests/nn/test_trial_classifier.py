"""The trial classifier: gradients, weights of classes, and which weights are kept."""

import numpy as np
import torch

from neurodyn.nn.trial_classifier import Fitting, TrialClassifier, _class_weights, fit_trial_classifier

SETTINGS = Fitting(hidden=4, dropout=0.0, lr=0.05, batch=8, epochs=30, patience=30, seed=0)


def trials(count=24, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return rng.standard_normal((count, 6, 3)) + labels[:, None, None], labels


def test_both_directions_and_both_ends_matter():
    net = TrialClassifier(3, 4, 2, 0.0).eval()
    x = torch.randn(6, 2, 3)
    for frame in (0, 5):
        other = x.clone()
        other[frame] += 1
        assert (net(other) - net(x)).abs().max() > 1e-4
    assert (net.recurrent.initial == 0).all()
    assert net.recurrent.initial.requires_grad


def test_class_weights_make_every_class_weigh_the_same():
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = _class_weights(labels, 3)
    torch.testing.assert_close(weights[:2], torch.tensor([8 / 18, 8 / 6]))
    torch.testing.assert_close(torch.bincount(labels, weights[labels]), torch.tensor([8 / 3, 8 / 3]))


def test_the_weights_best_on_the_stopping_trials_are_kept():
    values, labels = trials()
    stopping = np.zeros(24, dtype=bool)
    stopping[:6] = True
    wrong = labels.copy()
    wrong[stopping] = 1 - labels[stopping]  # every step in the right direction is a step back here

    def loss(net):
        said = net.probabilities(values[stopping])[np.arange(6), wrong[stopping]]
        return -np.log(said).mean()

    early = fit_trial_classifier(values, wrong, stopping, SETTINGS)
    agreeing = fit_trial_classifier(values, labels, stopping, SETTINGS)
    assert loss(early) < 0.5 * loss(agreeing)


def test_global_randomness_is_left_alone():
    values, labels = trials()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit_trial_classifier(values, labels, np.arange(24) < 6, SETTINGS)
    assert torch.equal(torch.rand(1), expected)
