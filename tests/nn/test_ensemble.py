"""Losses of ensembles against integrals, closed forms and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from neurodyn.nn.ensemble import crps_gaussian, ensemble_crps_gaussian, fair_crps, kernel_crps, spread, statistical_loss
from neurodyn.nn.parts import mean_where


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def integral(distribution, x: float, low: float, high: float) -> float:
    y = np.linspace(low, high, 400_001)
    return float(np.trapezoid((distribution(y) - (y >= x)) ** 2, y))


@pytest.mark.parametrize(("mean", "std", "x"), [(0.0, 1.0, 0.3), (2.0, 0.5, 1.0), (-1.0, 3.0, 4.0), (0.5, 0.2, 0.5)])
def test_the_gaussian_score_is_the_integral(mean, std, x):
    def distribution(y):
        return 0.5 * (1 + torch.erf(torch.from_numpy((y - mean) / std) / math.sqrt(2))).numpy()

    found = crps_gaussian(torch.tensor(mean), torch.tensor(std), torch.tensor(x)).item()
    assert found == pytest.approx(integral(distribution, x, -40, 40), abs=1e-4)


def test_the_fair_score_is_the_integral_with_its_spread_term_made_fair():
    members = torch.randn(1, 5, generator=seeded()).double()
    x = 0.2

    def empirical(y):
        return (members[0].numpy()[:, None] <= y).mean(0)

    pairs = (members[0][:, None] - members[0]).abs().sum().item()
    fairer = pairs / (2 * 5 * 5) - pairs / (2 * 5 * 4)
    found = fair_crps(members, torch.tensor([x]).double()).item()
    assert found == pytest.approx(integral(empirical, x, -10, 10) + fairer, abs=1e-4)
    plain = kernel_crps(members, torch.tensor([x]).double()).item()
    assert plain == pytest.approx(integral(empirical, x, -10, 10), abs=1e-4)


def test_fixed_members_end_at_the_quantiles():
    target = torch.from_numpy(norm.ppf((np.arange(2000) + 0.5) / 2000))
    members = torch.linspace(-0.5, 0.5, 4).double().requires_grad_()
    optimizer = torch.optim.Adam([members], lr=0.02)
    for _ in range(500):
        optimizer.zero_grad()
        kernel_crps(members.expand(2000, 4), target).mean().backward()
        optimizer.step()
    expected = torch.from_numpy(norm.ppf((np.arange(4) + 0.5) / 4))
    torch.testing.assert_close(members.detach(), expected, atol=0.03, rtol=0)


def test_closed_forms():
    members, x = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([2.0])
    assert fair_crps(members, x).item() == pytest.approx(4 / 3 - (1 + 3 + 2) / 6)
    s = math.sqrt(np.var([0, 1, 3], ddof=1) + 0.1**2)
    assert spread(members, 0.1).item() == pytest.approx(s)
    likeness = math.exp(-((2 - 4 / 3) ** 2) / (2 * s**2))
    expected = (4 + 1 + 1) / 3 + (likeness - 1) ** 2 + math.sqrt(s)
    assert statistical_loss(members, x, 0.1).item() == pytest.approx(expected, rel=1e-6)
    gaussian = crps_gaussian(members.mean(1), members.std(1), x)
    torch.testing.assert_close(ensemble_crps_gaussian(members, x, 1e-6), gaussian)
    at_the_mean = crps_gaussian(torch.zeros(()), torch.ones(()), torch.zeros(())).item()
    assert at_the_mean == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi), rel=1e-6)


@pytest.mark.parametrize("loss", [statistical_loss, fair_crps, kernel_crps, ensemble_crps_gaussian])
def test_gradients_are_those_of_finite_differences_and_reach_every_member_and_the_target(loss):
    members = torch.randn(2, 6, 3, generator=seeded(), dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 3, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (members, target))
    loss(members, target).sum().backward()
    moved = members.grad.abs() > 1e-9
    if loss is fair_crps:  # which does not hold the outermost members once they enclose what came
        assert moved.any(2).any(0).all()
        outside = (members.argsort(1).argsort(1) % 5 == 0) & ((members.amin(1) < target) & (target < members.amax(1)))[
            :, None
        ]
        assert torch.equal(moved, ~outside)
    else:
        assert moved.all()


def test_the_spread_term_of_the_fair_score_has_a_gradient():
    members = torch.tensor([[1.0, 2.0, 4.0]], requires_grad=True)
    fair_crps(members, torch.tensor([0.0])).sum().backward()  # all above x: the first term pulls all alike
    torch.testing.assert_close(members.grad, torch.tensor([[1 / 3 + 2 / 6, 1 / 3, 1 / 3 - 2 / 6]]))


@pytest.mark.parametrize("loss", [statistical_loss, fair_crps, kernel_crps, ensemble_crps_gaussian])
def test_equal_members_have_finite_gradients(loss):
    members = torch.ones(1, 4, 2, requires_grad=True)
    loss(members, torch.tensor([[1.0, 5.0]])).sum().backward()
    assert torch.isfinite(members.grad).all()


def test_the_fair_score_does_not_depend_on_the_number_of_members():
    """Members and what comes are drawn from N(0, 1): the expected score is 1/√π."""
    target = torch.randn(200_000, generator=seeded())
    for count in (2, 3, 8, 16):
        members = torch.randn(200_000, count, generator=seeded(count))
        assert fair_crps(members, target).mean().item() == pytest.approx(1 / math.sqrt(math.pi), abs=0.006)


def test_the_fair_score_is_never_negative_and_least_where_spread_and_skill_agree():
    target = torch.randn(100_000, generator=seeded())
    base = torch.randn(100_000, 8, generator=seeded(1))
    scores = {scale: fair_crps(scale * base, target) for scale in (0.5, 0.8, 1.0, 1.25, 2.0)}
    assert min(score.min().item() for score in scores.values()) > -1e-6
    means = {scale: score.mean().item() for scale, score in scores.items()}
    assert min(means, key=means.get) == 1.0


def test_masked_entries_do_not_count():
    members = torch.randn(3, 4, 5, generator=seeded())
    target, where = torch.randn(3, 5, generator=seeded(1)), torch.rand(3, 5, generator=seeded(2)) < 0.5
    wild = torch.where(where, target, torch.tensor(torch.inf))
    for loss in (statistical_loss, fair_crps, kernel_crps, ensemble_crps_gaussian):
        torch.testing.assert_close(mean_where(loss(members, wild), where), loss(members, target)[where].mean())
