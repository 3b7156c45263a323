"""LFADS against closed forms, and on simulated sessions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Normal, Poisson, kl_divergence

from neurodyn.backends import lfads
from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.lfads import LFADS, LFADSConfig, Spread
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.nn.dynamics import Noise
from neurodyn.nn.sessions import SessionLinear, shared_components
from neurodyn.simulate.integration import rk4
from neurodyn.simulate.lorenz import lorenz_flow

FRAMES, CELLS, RATE = 12, 5, 10.0
SMALL = {"factors": 3, "generator": 8, "initial": 6, "encoder": 7, "controller": 7, "samples": 5}


def counts(count: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.uniform(0.3, 2.0, CELLS), (count, FRAMES, CELLS)).astype(np.float32)


def as_batch(values: np.ndarray, valid: torch.Tensor | None = None) -> Batch:
    x = torch.from_numpy(values)
    valid = torch.ones_like(x, dtype=torch.bool) if valid is None else valid
    t = (torch.arange(x.shape[1]) / RATE).expand(len(x), -1)
    return Batch(x, t, valid.clone(), valid, torch.zeros(len(x), dtype=torch.long))


def model(seed: int = 0, **config) -> LFADS:
    torch.manual_seed(seed)
    made = LFADS(LFADSConfig(**SMALL | config), Layout(FRAMES, (CELLS,), RATE, np.ones(CELLS, bool)))
    made.prepare([counts(40, seed=1) + (0.1 if "gaussian" in config.get("likelihood", "") else 0)])
    return made.eval()


def source(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_bound_is_that_of_independent_distributions():
    one = model(inputs=2)
    with torch.no_grad():
        one.read_out.weight.zero_()
    valid = torch.ones(6, FRAMES, CELLS, dtype=torch.bool)
    valid[1, 3:5, 2] = False
    batch = as_batch(counts(), valid)
    parts = one.loss(batch, source())
    expected = Poisson(one.read_out.bias[0].exp()).log_prob(batch.x)[valid].sum() / 6
    torch.testing.assert_close(parts["reconstruction"], -expected)
    x = one._signals(batch)[0]
    posterior = one.dynamics.infer(x)
    prior = Normal(one.dynamics.prior.mean, (0.5 * one.dynamics.prior.log_variance).exp())
    kl = kl_divergence(Normal(posterior.mean, (0.5 * posterior.logvar).exp()), prior)
    torch.testing.assert_close(parts["kl_initial"], kl.sum(1).mean())
    assert set(parts) == {"reconstruction", "kl_initial", "kl_inputs", "l2"}


def test_entries_that_are_not_data_are_zero_to_the_encoders():
    valid = torch.ones(6, FRAMES, CELLS, dtype=torch.bool)
    valid[:, 4:7] = False
    x, _ = model()._signals(as_batch(counts(), valid))
    assert not x[4:7].any() and (x[:4] != 0).any()


def test_divergences_and_penalty_grow_during_the_warm_up():
    one, batch = model(warmup=10, inputs=1), as_batch(counts())
    full = one.loss(batch, source())
    for steps, share in ((0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0), (None, 1.0)):
        one.warm(steps)
        parts = one.loss(batch, source())
        assert parts["reconstruction"] == full["reconstruction"]
        for name in ("kl_initial", "kl_inputs", "l2"):
            torch.testing.assert_close(parts[name], share * full[name])
    assert one.warm_steps == 10


def test_only_what_the_encoders_missed_trains():
    one, x = model(coordinated_dropout=0.3).train(), torch.randn(200, 50, CELLS, generator=source())
    seen, weight = one._coordinated(x, 230, source())
    hidden = seen == 0
    assert 0.29 < hidden.float().mean() < 0.31
    torch.testing.assert_close(seen[~hidden], x[~hidden] / 0.7)
    torch.testing.assert_close(weight[:200], hidden / 0.3)
    assert (weight[200:] == 1).all()
    assert one.eval()._coordinated(x, 230, source()) == (x, 1.0)


def test_some_of_the_rest_may_train_too():
    one, x = model(coordinated_dropout=0.3, pass_rate=0.5).train(), torch.ones(200, 50, CELLS)
    seen, weight = one._coordinated(x, 200, source())
    passing = weight > 0
    assert passing[seen == 0].all()
    assert 0.49 < passing[seen > 0].float().mean() < 0.51
    assert 0.99 < weight.mean() < 1.01


def test_coordinated_dropout_leaves_the_loss_and_weights_its_gradient():
    one, batch = model(coordinated_dropout=0.4, dropout=0.0), as_batch(counts())
    with torch.no_grad():
        one.read_out.weight.zero_()
    plain = one.loss(batch, source())["reconstruction"]
    weight = one.train()._coordinated(one._signals(batch)[0], FRAMES, source())[1]
    loss = one.loss(batch, source())["reconstruction"]
    torch.testing.assert_close(loss, plain)
    found = torch.autograd.grad(loss, one.read_out.bias)[0][0]
    expected = (weight * (one.read_out.bias[0].exp() - batch.x.transpose(0, 1))).sum((0, 1)) / 6
    torch.testing.assert_close(found, expected)


def test_frames_after_the_encoded_ones_are_predicted():
    one, batch = model(encode=0.8, inputs=1), as_batch(counts())
    later = batch.x.clone()
    later[:, 8:] += 3
    changed = replace(batch, x=later)
    torch.testing.assert_close(one(changed).mean, one(batch).mean, rtol=0, atol=0)
    assert one(batch).latents.shape == (6, FRAMES, 3)
    assert not one(batch).inputs[:, 8:].any()
    assert one.loss(changed, source())["reconstruction"] != one.loss(batch, source())["reconstruction"]
    with pytest.raises(ConfigError, match="12 frames"):
        model(encode=5.0)


@pytest.mark.parametrize("likelihood", ["poisson", "gaussian"])
def test_a_prediction_averages_samples(likelihood, monkeypatch):
    one, batch = model(inputs=2, likelihood=likelihood), as_batch(counts())
    found = one(batch)
    stream = torch.Generator().manual_seed(lfads.SAMPLE_SEED)
    means, variances, factors = [], [], []
    for _ in range(5):
        initial = torch.randn(1, 6, generator=stream)
        inputs = torch.randn(FRAMES, 1, 2, generator=stream)
        noise = Noise(initial.expand(6, -1), inputs.expand(-1, 6, -1))
        course = one.dynamics(one._signals(batch)[0], noise, FRAMES)
        mean, sd = (part.transpose(0, 1) for part in one._moments(course.factors, batch))
        means.append(mean)
        variances.append(sd**2)
        factors.append(course.factors.transpose(0, 1))
    torch.testing.assert_close(found.mean, torch.stack(means).mean(0))
    spread = torch.stack(variances).mean(0) + torch.stack(means).var(0, correction=0)
    torch.testing.assert_close(found.std, spread.sqrt())
    torch.testing.assert_close(found.latents, torch.stack(factors).mean(0))
    if likelihood == "poisson":
        torch.testing.assert_close(found.rates, RATE * found.mean)
    else:
        assert found.rates is None
    monkeypatch.setattr(lfads, "ROWS_AT_ONCE", 1)
    torch.testing.assert_close(one(batch).mean, found.mean)


def test_densities_begin_at_the_mean_of_the_data():
    train = counts(40, seed=1)
    for likelihood, offset in (("poisson", 0.0), ("gaussian_exp", 0.1), ("gaussian", 0.1)):
        one = model(likelihood=likelihood)
        with torch.no_grad():
            one.read_out.weight.zero_()
        expected = torch.from_numpy(train.mean((0, 1)) + np.float32(offset)).expand(6, FRAMES, -1)
        torch.testing.assert_close(one(as_batch(counts())).mean, expected, rtol=1e-4, atol=1e-4)


def test_the_gaussian_density_is_that_of_the_data_not_of_their_scores():
    one, batch = model(likelihood="gaussian"), as_batch(counts())
    with torch.no_grad():
        one.read_out.weight.zero_()
    expected = Normal(one.cells.mean[0], one.cells.scale[0]).log_prob(batch.x).sum((1, 2)).mean()
    torch.testing.assert_close(one.loss(batch, source())["reconstruction"], -expected)


def test_data_outside_the_support_are_refused():
    with pytest.raises(DataError, match="negative"):
        model().prepare([counts() - 1])
    with pytest.raises(ValidationError, match="loc is for"):
        LFADSConfig(likelihood="poisson", loc=0.1)
    assert model(likelihood="zero_inflated_gamma", loc=0.3).likelihood.loc == 0.3


def test_a_model_that_carries_nothing_has_collapsed():
    one = model(warmup=10)
    healthy, dead = {"kl_initial": 3.0}, {"kl_initial": 0.4, "kl_inputs": 0.5}
    assert one.health(healthy, 20) is None
    assert one.health(dead, 19) is None
    assert "0.90 nats" in one.health(dead, 20)
    one.loss(as_batch(counts()), source())
    assert one.health(healthy, 20) is None
    one.spread.add(1e4 * torch.ones(FRAMES, 300, 3))
    one.warm(None)
    one.spread.add(torch.ones(FRAMES, 300, 3) + 0.01 * torch.randn(FRAMES, 300, 3, generator=source()))
    assert "factors" in one.health(healthy, 20)


def test_the_spread_of_factors_is_their_share_of_variance_between_windows():
    spread, values = Spread(), 2 + torch.randn(FRAMES, 40, 3, generator=source())
    assert spread.share == 1.0
    for part in values.split(7, dim=1):
        spread.add(part)
    expected = values.var(1, correction=0).mean() / values.square().mean()
    assert spread.share == pytest.approx(expected.item(), rel=1e-6)


def test_every_session_has_its_own_map():
    maps, x = SessionLinear(2, 4, 3), torch.randn(7, 5, 4, generator=source())
    session = torch.tensor([0, 1, 1, 0, 1])
    with torch.no_grad():
        maps.bias.normal_()
    out = maps(x, session)
    for row, s in enumerate(session):
        torch.testing.assert_close(out[:, row], x[:, row] @ maps.weight[s] + maps.bias[s])


def lorenz_trials(conditions: int, repeats: int, seed: int, frames: int = 50) -> np.ndarray:
    state = np.random.default_rng(seed).standard_normal((conditions, 3))
    course = []
    for step in range(300 + frames):
        state = rk4(lorenz_flow, state, 0.04)
        course += [state] if step >= 300 else []
    latents = np.stack(course, axis=1)
    latents = (latents - latents.mean((0, 1))) / latents.std((0, 1))
    return np.repeat(latents, repeats, axis=0)


def population(latents: np.ndarray, cells: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents in another order of trials, and counts of a session's cells."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.3, 0.8, (3, cells)) * rng.choice([-1, 1], (3, cells))
    latents = latents[rng.permutation(len(latents))]
    return latents, rng.poisson(0.5 * np.exp(latents @ weights)).astype(np.float32)


def transferred(fitted: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """R² of true latents from an affine map of another session's factors."""
    (factors, known), (others, true) = ([part.reshape(-1, 3) for part in pair] for pair in (fitted, other))
    ones = np.ones((len(factors), 1))
    weights = np.linalg.lstsq(np.hstack([factors, ones]), known, rcond=None)[0]
    predicted = np.hstack([others, np.ones((len(others), 1))]) @ weights
    return 1 - ((predicted - true) ** 2).sum() / ((true - true.mean(0)) ** 2).sum()


def two_sessions() -> tuple[np.ndarray, ...]:
    latents = lorenz_trials(3, 24, seed=1)
    return (*population(latents, 25, seed=1), *population(latents, 20, seed=2))


def test_components_follow_one_another_across_sessions():
    latents, x, others, y = two_sessions()
    scored = [(data - data.mean((0, 1))) / data.std((0, 1)) for data in (x, y)]
    first, second = (data @ w for data, w in zip(scored, shared_components(scored, 3), strict=True))
    shared = transferred((first, latents), (second, others))
    assert shared > 0.9 * transferred((second, others), (second, others)) > 0.6
    wide = shared_components([scored[0], scored[1][:, :, :2]], 3)
    assert wide[1].shape == (2, 3)
    assert np.linalg.matrix_rank(wide[1]) == 2


def test_sessions_with_different_cells_share_their_factors():
    latents, x, others, y = two_sessions()
    layout = Layout(50, (25,), RATE, np.ones(25, bool), (25, 20), ("one", "two"))
    torch.manual_seed(0)
    config = {"factors": 3, "generator": 32, "initial": 32, "encoder": 32, "warmup": 100, "l2": 0.0, "samples": 8}
    one = LFADS(LFADSConfig(**config), layout)
    one.prepare_sessions([(0, x[:40]), (0, x[40:]), (1, y)])
    valid = torch.ones(len(x) + len(y), 50, 25, dtype=torch.bool)
    valid[len(x) :, :, 20:] = False
    whole = as_batch(np.concatenate([x, np.pad(y, ((0, 0), (0, 0), (0, 5)))]), valid)
    whole = replace(whole, session=(torch.arange(len(valid)) >= len(x)).long())
    optimizer, draws = torch.optim.Adam(one.parameters(), lr=1e-2), source()
    for step in range(150):
        rows = torch.randint(len(valid), (32,), generator=draws)
        one.train().warm(step)
        parts = one.loss(Batch(*(getattr(whole, f)[rows] for f in ("x", "t", "visible", "valid", "session"))), draws)
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(one.parameters(), 200.0)
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 150)
        optimizer.step()
    with torch.no_grad():
        factors = one.eval()(whole).latents.numpy()
    first, second = (factors[: len(x)], latents), (factors[len(x) :], others)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 3, 3)))[0]
    centre = second[0].mean((0, 1))
    chance = max(transferred(first, ((second[0] - centre) @ turn + centre, others)) for turn in turned)
    assert transferred(first, second) > 0.8 * transferred(second, second) > 0.5
    assert transferred(first, second) > chance + 0.2


def test_the_weight_of_the_divergences_is_theirs_alone_and_no_part_of_what_they_carry():
    some, whole, light = as_batch(counts()), model(inputs=2, warmup=10), model(inputs=2, warmup=10, kl=0.25)
    one, other = ({k: v.item() for k, v in each.loss(some, source()).items()} for each in (whole, light))
    for name, share in {"kl_initial": 0.25, "kl_inputs": 0.25, "reconstruction": 1.0, "l2": 1.0}.items():
        assert other[name] == pytest.approx(share * one[name], rel=1e-5)
    assert light.health({"kl_initial": 0.2, "kl_inputs": 0.1}, 20) is None
    assert "0.80 nats" in str(light.health({"kl_initial": 0.2}, 20))
