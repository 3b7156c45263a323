"""Ridge in closed form is scikit-learn's, its penalty that of left-out stretches, and the path one for all and one each."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from neurodyn.core.errors import DataError
from neurodyn.nn import linear_path
from neurodyn.nn.linear_path import Example, LinearPath
from neurodyn.nn.ridge import FOLDS, PENALTIES, NormalEquations, folds

WINDOWS, SOURCE, HORIZON, ENTRIES, TOLD = 40, 11, 3, 4, 2


def examples(windows: int = WINDOWS, sessions: int = 1) -> list[Example]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(windows, SOURCE + HORIZON, ENTRIES, generator=rng).cumsum(1)
    told = torch.nn.functional.one_hot(torch.arange(windows) % TOLD).float()
    x[:, SOURCE:] += told[:, None, :1] * torch.arange(ENTRIES)
    session = torch.arange(windows) * sessions // windows
    there = torch.ones(windows, HORIZON, ENTRIES, dtype=torch.bool)
    whole = Example(x[:, :SOURCE], told, x[:, SOURCE:], there, session)
    cut = [slice(0, windows // 3), slice(windows // 3, windows)]
    return [Example(*(part[rows] for part in whole)) for rows in cut]


def joined(found: list[Example]) -> Example:
    return Example(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def equations(x: np.ndarray, y: np.ndarray) -> NormalEquations:
    found = NormalEquations(1, x.shape[1] + 1, y.shape[1])
    u = torch.cat([torch.from_numpy(x), torch.ones(len(x), 1)], dim=1)[:, None]
    found.add(u, torch.from_numpy(y)[..., None], torch.ones(len(x), 1, dtype=torch.bool), folds(len(x)))
    return found


def left_out(x: np.ndarray, y: np.ndarray) -> float:
    """The penalty by which scikit-learn forecasts each quarter best from the others."""
    fold = folds(len(x)).numpy()
    errors = [
        sum(
            ((Ridge(alpha=alpha).fit(x[fold != k], y[fold != k]).predict(x[fold == k]) - y[fold == k]) ** 2).sum()
            for k in range(FOLDS)
        )
        for alpha in PENALTIES
    ]
    return PENALTIES[int(np.argmin(errors))]


def test_the_weights_and_the_penalty_are_scikit_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 1, (60, 12))
    y = x[:, :3] + rng.normal(0, 3, (60, 3)) - 1
    found = equations(x, y)
    assert found.chosen() == left_out(x, y)
    assert PENALTIES[0] < found.chosen() < PENALTIES[-1]
    for alpha in (1.0, found.chosen()):
        reference = Ridge(alpha=alpha).fit(x, y)
        weight = found.solved(alpha)[0].numpy()
        np.testing.assert_allclose(weight[:-1], reference.coef_.T, atol=1e-8)
        np.testing.assert_allclose(weight[-1], reference.intercept_, atol=1e-8)


def past(source: np.ndarray) -> np.ndarray:
    return np.stack([source[:, -length:].mean(1) for length in (1, 2, 4, 8, SOURCE)], axis=-1)  # (window, entry, scale)


def test_the_path_is_a_ridge_for_all_and_one_for_what_it_leaves_of_each():
    path, given = LinearPath(SOURCE, HORIZON, ENTRIES, TOLD, own=True), examples()
    path.fit(given)
    whole = joined(given)
    u, y = past(whole.source.double().numpy()), whole.wanted.double().numpy()
    x, every = u.reshape(-1, u.shape[-1]), y.transpose(0, 2, 1).reshape(-1, HORIZON)
    fold = np.repeat(folds(WINDOWS).numpy(), ENTRIES)
    errors = []
    for alpha in PENALTIES:
        fits = [Ridge(alpha=alpha).fit(x[fold != k], every[fold != k]) for k in range(FOLDS)]
        errors.append(sum(((fits[k].predict(x[fold == k]) - every[fold == k]) ** 2).sum() for k in range(FOLDS)))
    first = Ridge(alpha=PENALTIES[int(np.argmin(errors))]).fit(x, every)
    shared = first.predict(x).reshape(WINDOWS, ENTRIES, HORIZON).transpose(0, 2, 1)
    told, fold = whole.told.double().numpy(), folds(WINDOWS).numpy()
    mine = [np.concatenate([u[:, entry], told], axis=1) for entry in range(ENTRIES)]
    left, errors = y - shared, []
    for alpha in PENALTIES:
        total = 0.0
        for entry in range(ENTRIES):
            for k in range(FOLDS):
                fit = Ridge(alpha=alpha).fit(mine[entry][fold != k], left[fold != k][..., entry])
                total += ((fit.predict(mine[entry][fold == k]) - left[fold == k][..., entry]) ** 2).sum()
        errors.append(total)
    alpha = PENALTIES[int(np.argmin(errors))]
    own = np.stack([Ridge(alpha=alpha).fit(mine[e], left[..., e]).predict(mine[e]) for e in range(ENTRIES)], axis=-1)
    found = path(whole.source, whole.told, whole.session)
    np.testing.assert_allclose(found, shared + own, atol=1e-3)
    alone = LinearPath(SOURCE, HORIZON, ENTRIES, TOLD, own=False)
    alone.fit(given)
    np.testing.assert_allclose(alone(whole.source, whole.told, whole.session), shared, atol=1e-3)


def test_entries_in_several_goes_are_those_of_one(monkeypatch):
    path, again = (LinearPath(SOURCE, HORIZON, ENTRIES, TOLD, own=True) for _ in range(2))
    path.fit(examples())
    constant = [example._replace(source=example.source[..., [0] * ENTRIES]) for example in examples()]
    same = [example._replace(wanted=example.wanted[..., [0] * ENTRIES]) for example in constant]
    path.fit(same)
    monkeypatch.setattr(linear_path, "MOST_PRODUCTS", 1)
    again.fit(same)
    torch.testing.assert_close(again.own, path.own, rtol=1e-4, atol=1e-5)


def test_constant_entries_and_those_never_valid_have_nothing_of_their_own():
    given = []
    for example in examples():
        source, wanted, there = example.source.clone(), example.wanted.clone(), example.there.clone()
        source[..., 0] = wanted[..., 0] = 0.0
        there[..., 1] = False
        wanted[..., 1] = 1e6
        given.append(example._replace(source=source, wanted=wanted, there=there))
    path = LinearPath(SOURCE, HORIZON, ENTRIES, TOLD, own=True)
    path.fit(given)
    assert torch.isfinite(path.own).all()
    assert path.own[0, 1].abs().max() == 0 < path.own[0, 2].abs().max()
    whole = joined(given)
    assert path(whole.source, whole.told, whole.session)[..., 0].abs().max() < 1e-4
    lacking = [e._replace(wanted=e.wanted[..., 2:], source=e.source[..., 2:], there=e.there[..., 2:]) for e in given]
    without = LinearPath(SOURCE, HORIZON, ENTRIES - 2, TOLD, own=False)
    without.fit(lacking)
    assert not torch.equal(without.shared, path.shared)  # a constant entry is one of all


def test_each_session_has_entries_of_its_own():
    given = examples(sessions=2)
    path = LinearPath(SOURCE, HORIZON, ENTRIES, TOLD, own=True, sessions=2)
    path.fit(given)
    whole = joined(given)
    for session in range(2):
        rows = whole.session == session
        before = path(whole.source, whole.told, whole.session)[rows]
        asked = whole.source[rows], whole.told[rows]
        torch.testing.assert_close(path(*asked, whole.session[rows]), before)
        assert not torch.allclose(path(*asked, 1 - whole.session[rows]), before)


def test_too_few_windows_are_refused():
    with pytest.raises(DataError, match="3 training windows"):
        LinearPath(SOURCE, HORIZON, ENTRIES, TOLD, own=True).fit(examples(3))
