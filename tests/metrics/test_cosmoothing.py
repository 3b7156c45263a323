"""Factor analysis and linear references against conditional expectations, and scores against their definitions."""

import numpy as np
import pytest
import sklearn.decomposition

from neurodyn.metrics.alignment import bits_per_spike, spike_likelihoods
from neurodyn.metrics.cosmoothing import (
    References,
    groups_of,
    r2_of_cells,
    r2_sums,
    spike_sums,
)
from neurodyn.metrics.factor_analysis import FactorAnalysis, most_factors, principal, standardised

CELLS, FACTORS, RATE = 12, 2, 10.0


def drawn(samples: int, seed: int = 0) -> tuple[np.ndarray, FactorAnalysis]:
    """Values of a factor analysis, and the truth."""
    rng = np.random.default_rng(1)
    truth = FactorAnalysis(rng.normal(size=CELLS), rng.normal(size=(CELLS, FACTORS)), rng.uniform(0.2, 1.5, CELLS))
    rng = np.random.default_rng(seed)
    noise = np.sqrt(truth.noise) * rng.normal(size=(samples, CELLS))
    return truth.mean + rng.normal(size=(samples, FACTORS)) @ truth.loadings.T + noise, truth


def slow(windows: int, seed: int = 0, frames: int = 20) -> np.ndarray:
    """Windows of cells whose factors last three frames, in much noise."""
    rng = np.random.default_rng(1)
    loadings = rng.normal(size=(CELLS, FACTORS))
    rng = np.random.default_rng(seed)
    apart = np.subtract.outer(np.arange(frames), np.arange(frames))
    root = np.linalg.cholesky(np.exp(-(apart**2) / 18) + 1e-6 * np.eye(frames))
    factors = np.einsum("st,wtk->wsk", root, rng.normal(size=(windows, frames, FACTORS)))
    return factors @ loadings.T + 2.0 * rng.normal(size=(windows, frames, CELLS))


def common(model: FactorAnalysis) -> np.ndarray:
    return model.loadings @ model.loadings.T


def test_factor_analysis_finds_what_was_drawn():
    values, truth = drawn(20000)
    found = FactorAnalysis.fit(values, FACTORS)
    error = np.sqrt((common(truth).diagonal() + truth.noise) / len(values))  # of a mean
    assert (np.abs(found.mean - truth.mean) < 4 * error).all()
    np.testing.assert_allclose(found.noise, truth.noise, rtol=0.08)
    np.testing.assert_allclose(common(found), common(truth), atol=0.12)


def test_entries_missing_at_random_change_little_and_those_of_no_datum_nothing():
    values, truth = drawn(4000)
    holed = np.where(np.random.default_rng(3).random(values.shape) < 0.2, np.nan, values)
    holed[:50] = np.nan
    found = FactorAnalysis.fit(holed, FACTORS, rounds=60)
    np.testing.assert_allclose(common(found), common(truth), atol=0.3)
    np.testing.assert_allclose(found.noise, truth.noise, rtol=0.2)


def test_the_posterior_is_the_conditional_expectation():
    values, truth = drawn(5)
    seen = np.array([0, 3, 4, 9])
    joint = common(truth) + np.diag(truth.noise)
    slope = np.linalg.solve(joint[np.ix_(seen, seen)], truth.loadings[seen])
    expected = (values[:, seen] - truth.mean[seen]) @ slope
    np.testing.assert_allclose(truth.posterior(values[:, seen], seen), expected, atol=1e-10)
    covariance = np.eye(FACTORS) - truth.loadings[seen].T @ slope
    np.testing.assert_allclose(truth.covariance(seen), covariance, atol=1e-10)


def test_a_constant_cell_and_too_many_factors_are_survived():
    values, _ = drawn(300)
    values[:, 2] = 4.0
    found = FactorAnalysis.fit(values, CELLS - 1)
    assert np.isfinite(found.loadings).all() and found.mean[2] == 4.0
    assert np.abs(found.loadings[2]).max() < 1e-3


def test_principal_components_leave_the_other_eigenvalues_mean():
    standard = standardised(drawn(500)[0])[2]
    found = principal(standard, FACTORS)
    variance = np.linalg.eigvalsh(standard.T @ standard / 500)
    assert found.noise[0] == pytest.approx(variance[:-FACTORS].mean())
    np.testing.assert_allclose(
        np.linalg.eigvalsh(common(found))[-FACTORS:] + found.noise[0], variance[-FACTORS:], rtol=1e-8
    )


@pytest.mark.parametrize(("cells", "most"), [(2, 1), (6, 3), (56, 45)])
def test_most_factors_are_those_of_ledermann(cells, most):
    assert most_factors(cells) == most
    assert cells < 3 or (cells - most) ** 2 >= cells + most > 0


def test_ridge_is_the_regression_on_the_others():
    train, test = slow(60), slow(5, seed=9)
    groups = groups_of(CELLS, 4)
    found = References.fit(train, FACTORS, RATE, groups)
    said = found(test, groups)["ridge"]
    penalty = found.predictors["ridge"].penalty
    standard, asked = ((values - found.mean) / found.scale for values in (train, test))
    group = groups[1]
    seen = np.setdiff1d(np.arange(CELLS), group)
    x, y = standard[..., seen].reshape(-1, len(seen)), standard[..., group].reshape(-1, len(group))
    slope = np.linalg.solve(x.T @ x / len(x) + penalty * np.eye(len(seen)), x.T @ y / len(x))
    expected = found.mean[group] + found.scale[group] * (asked[..., seen] @ slope)
    np.testing.assert_allclose(said[..., group], expected, atol=1e-9)


def test_what_is_hidden_is_not_looked_at_and_time_helps_where_factors_are_slow():
    train, test = slow(150), slow(40, seed=9)
    groups = groups_of(CELLS, 100)
    assert sorted(np.concatenate(groups)) == list(range(CELLS)) and len(groups) == CELLS
    found = References.fit(train, FACTORS, RATE, groups)
    spoiled = test.copy()
    spoiled[..., groups[2]] = 1e6
    whole, blind = found(test, groups), found(spoiled, groups)
    r2 = {name: np.nanmean(r2_of_cells(r2_sums(test, said).sum(0))) for name, said in whole.items()}
    assert list(r2) == ["ridge", "ridge, 4 time scales", "PCA 2", "factor analysis 2", "GPFA 2"]
    for name in whole:
        np.testing.assert_array_equal(whole[name][..., groups[2]], blind[name][..., groups[2]])
    assert r2["GPFA 2"] > r2["ridge, 4 time scales"] > r2["factor analysis 2"] + 0.02
    assert r2["factor analysis 2"] == pytest.approx(r2["ridge"], abs=0.02)


def test_gaussian_process_factors_are_the_conditional_expectation():
    train, test = slow(80, frames=6), slow(3, seed=9, frames=6)
    found = References.fit(train, FACTORS, RATE, [np.array([0, 5])])
    process = found.predictors["GPFA 2"]
    standard = (test - found.mean) / found.scale
    loadings, noise = process.model.loadings, process.model.noise
    seen, group = np.setdiff1d(np.arange(CELLS), [0, 5]), np.array([0, 5])
    joint = sum(np.einsum("st,i,j->sitj", k, w, w) for k, w in zip(process.kernels, loadings.T, strict=True))
    joint = joint + np.einsum("st,ij->sitj", np.eye(6), np.diag(noise))
    flat = joint[:, seen][..., seen].reshape(6 * len(seen), -1)
    cross = joint[:, group][..., seen].reshape(12, -1)
    expected = standard[..., seen].reshape(3, -1) @ np.linalg.solve(flat, cross.T)
    np.testing.assert_allclose(process(standard, group), expected.reshape(3, 6, 2), atol=1e-8)


def test_scores_are_what_they_are_defined_to_be():
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.2, 3.0, (8, 20, 3))
    counts = rng.poisson(rates).astype(float)
    counts[0, 3, 1] = np.nan
    sums = r2_sums(counts, rates).sum(0)
    x, said = counts[..., 1].ravel(), rates[..., 1].ravel()
    x, said = x[np.isfinite(x)], said[np.isfinite(counts[..., 1].ravel())]
    assert r2_of_cells(sums)[1] == pytest.approx(1 - ((x - said) ** 2).sum() / ((x - x.mean()) ** 2).sum())
    whole = np.nan_to_num(counts)[..., [0, 2]]
    bits = spike_sums(whole, rates[..., [0, 2]]).sum(axis=(0, 1))
    expected = spike_likelihoods(rates[..., [0, 2]], whole, whole.mean((0, 1))).sum(0)
    assert bits[0] / (bits[1] * np.log(2)) == pytest.approx(bits_per_spike(expected), rel=1e-6)
    assert np.isnan(r2_of_cells(r2_sums(np.ones((2, 5, 1)), np.ones((2, 5, 1))).sum(0))[0])
    assert np.isnan(bits_per_spike(spike_sums(np.zeros((2, 5, 1)), np.ones((2, 5, 1))).sum(axis=(0, 1))))


def test_factor_analysis_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    spread = np.array([1.0, 5.0, 0.1, 1.0, 2.0, 1.0, 8.0, 1.0])
    values = (rng.normal(size=(4000, 2)) @ rng.normal(size=(2, 8)) + rng.normal(size=(4000, 8))) * spread
    ours = FactorAnalysis.fit(values, 2)
    theirs = sklearn.decomposition.FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(values / spread)
    covariance = (ours.loadings @ ours.loadings.T + np.diag(ours.noise)) / np.outer(spread, spread)
    np.testing.assert_allclose(covariance, theirs.get_covariance(), atol=0.02)
    np.testing.assert_allclose((values - ours.mean) @ ours.weights, ours.posterior(values), rtol=1e-9, atol=1e-12)
    told, known = ours.posterior(values), theirs.transform(values / spread)
    turned = np.linalg.lstsq(known, told, rcond=None)[0]  # factors are known but for a rotation
    np.testing.assert_allclose(turned.T @ turned, np.eye(2), atol=0.02)
    np.testing.assert_allclose(known @ turned, told, atol=0.05)


def test_ridge_regression_from_the_past_knows_nothing_later_and_more_than_the_same_frame():
    groups = groups_of(CELLS, CELLS)
    train, fresh = slow(200), slow(300, seed=5)
    past, whole = (References.fit(train, FACTORS, RATE, groups, past=past) for past in (True, False))
    told = {name: values[:, :-5] for name, values in past(fresh, groups).items() if name.startswith("ridge")}
    changed = fresh.copy()
    changed[:, -5:] += 3.0
    for name, values in told.items():
        np.testing.assert_allclose(past(changed, groups)[name][:, :-5], values, atol=1e-9)
    last = [
        {name: r2_of_cells(r2_sums(fresh[:, -1:], values[:, -1:]).sum(0)).mean() for name, values in found.items()}
        for found in (past(fresh, groups), whole(fresh, groups))
    ]
    assert last[0]["ridge, 4 time scales"] > last[0]["ridge"] + 0.02
    assert last[0]["ridge"] == pytest.approx(last[1]["ridge"])
