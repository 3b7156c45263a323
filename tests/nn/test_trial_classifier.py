"""The trial classifier: gradients, weights of classes, and which weights are kept."""

from dataclasses import replace

import numpy as np
import torch

from neurodyn.nn.recurrent import Bidirectional
from neurodyn.nn.trial_classifier import Fitting, TrialClassifiers, class_weights, fit_trial_classifiers

SETTINGS = Fitting(hidden=4, dropout=0.0, lr=0.05, batch=8, epochs=30, patience=30, seed=0)


def trials(count=24, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return rng.standard_normal((count, 6, 3)) + labels[:, None, None], labels


def test_both_directions_and_both_ends_matter():
    torch.manual_seed(0)
    nets = TrialClassifiers(2, 3, 4, 2)
    x = torch.randn(6, 2, 5, 3)
    for frame in (0, 5):
        other = x.clone()
        other[frame] += 1
        assert (nets(other) - nets(x)).abs().max() > 1e-4
    assert (nets.weights["initial"] == 0).all()
    assert nets.weights["initial"].requires_grad


def test_one_network_is_the_recurrent_unit_read_out_at_its_ends():
    torch.manual_seed(0)
    nets, reference = TrialClassifiers(3, 3, 4, 2), Bidirectional(3, 4)
    with torch.no_grad():
        for way, unit in enumerate((reference.forth, reference.back)):
            for name in ("input", "recurrent", "bias"):
                getattr(unit, name).copy_(nets.weights[name][1, way].reshape(getattr(unit, name).shape))
    x = torch.randn(6, 5, 3)
    expected = reference(x)[1] @ nets.weights["output"][1] + nets.weights["offset"][1]
    torch.testing.assert_close(nets(x[:, None].expand(-1, 3, -1, -1))[1], expected)


def test_networks_side_by_side_are_those_trained_alone():
    values, labels = trials()
    several = np.stack([labels, np.roll(labels, 3), np.arange(24) % 3 // 2])
    stopping = np.stack([np.arange(24) < 6, np.arange(24) % 5 == 0, np.arange(24) >= 20])
    settings = replace(SETTINGS, dropout=0.25)
    together = fit_trial_classifiers(values, several, stopping, settings).probabilities(values)
    for k in range(3):
        alone = fit_trial_classifiers(values, several[k : k + 1], stopping[k : k + 1], settings)
        np.testing.assert_allclose(together[k], alone.probabilities(values)[0], atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_class_weights_make_every_class_weigh_the_same():
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = class_weights(labels, 3)
    torch.testing.assert_close(weights[:2], torch.tensor([8 / 18, 8 / 6]))
    torch.testing.assert_close(torch.bincount(labels, weights[labels]), torch.tensor([8 / 3, 8 / 3]))


def test_the_weights_best_on_the_stopping_trials_are_kept():
    values, labels = trials()
    stopping = np.zeros(24, dtype=bool)
    stopping[:6] = True
    wrong = labels.copy()
    wrong[stopping] = 1 - labels[stopping]  # every step in the right direction is a step back here

    def loss(net):
        said = net.probabilities(values[stopping])[0, np.arange(6), wrong[stopping]]
        return -np.log(said).mean()

    early = fit_trial_classifiers(values, wrong[None], stopping[None], SETTINGS)
    agreeing = fit_trial_classifiers(values, labels[None], stopping[None], SETTINGS)
    assert loss(early) < 0.5 * loss(agreeing)


def test_global_randomness_is_left_alone():
    values, labels = trials()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit_trial_classifiers(values, labels[None], np.arange(24)[None] < 6, SETTINGS)
    assert torch.equal(torch.rand(1), expected)
