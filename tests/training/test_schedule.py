"""Learning rates: the plateau against a plain reading of its rule, and across a kill."""

import numpy as np
import pytest
import torch

from neurodyn.runs.config import TrainingConfig
from neurodyn.training.schedule import Plateau, share_of_peak


def config(**values) -> TrainingConfig:
    return TrainingConfig.model_validate({"schedule": "plateau", "warmup": 4, "lr": 0.01, **values})


def test_warm_up_and_shapes():
    shares = {
        name: [share_of_peak(step, 20, config(schedule=name)) for step in range(20)]
        for name in ("cosine", "constant", "plateau")
    }
    for values in shares.values():
        assert values[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares["constant"] == shares["plateau"]
    assert shares["plateau"][4:] == [1.0] * 16
    assert share_of_peak(12, 20, config(schedule="cosine")) == pytest.approx(0.5)
    assert share_of_peak(20, 20, config(schedule="cosine")) == pytest.approx(0)


def test_a_flat_loss_is_cut_every_patience_plus_two_epochs_down_to_the_floor():
    """The first epoch after a cut is always the smallest yet, then come patience + 1 that are not."""
    plateau, settings = Plateau(), config(plateau_factor=0.5, plateau_patience=3, min_lr=0.002)
    scales = []
    for _ in range(21):
        plateau.add(1.0, settings)
        scales.append(plateau.scale)
    assert scales == [1.0] * 4 + [0.5] * 5 + [0.25] * 5 + [0.2] * 7


def test_it_agrees_with_pytorchs_scheduler_up_to_the_first_cut():
    rng = np.random.default_rng(0)
    losses = np.exp(-np.arange(200) / 20) + 0.05 * rng.normal(size=200)
    plateau, settings = Plateau(), config()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.95, patience=6, threshold=0.0)
    smoothed, cut = losses[0], 0
    for epoch, loss in enumerate(losses):
        smoothed = 0.3 * smoothed + 0.7 * loss
        plateau.add(loss, settings)
        theirs.step(smoothed)
        assert plateau.smoothed == pytest.approx(smoothed)
        assert plateau.scale == pytest.approx(optimizer.param_groups[0]["lr"])
        if plateau.scale < 1:
            cut = epoch
            break
    assert cut > 20


def test_a_falling_loss_is_never_cut_and_a_floor_above_the_rate_does_not_raise_it():
    plateau = Plateau()
    for epoch in range(100):
        plateau.add(-float(epoch), config())
    assert plateau.scale == 1.0
    plateau = Plateau()
    for _ in range(30):
        plateau.add(1.0, config(min_lr=1.0))
    assert plateau.scale == 1.0


def test_the_state_round_trip():
    plateau = Plateau()
    for loss in (3.0, 2.0, 2.5):
        plateau.add(loss, config())
    again = Plateau(**plateau.state())
    for loss in [2.6] * 10:
        plateau.add(loss, config())
        again.add(loss, config())
    assert again == plateau
    assert plateau.scale < 1
