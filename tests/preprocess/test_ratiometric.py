"""Fixed weights: closed forms on movies that are products."""

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.preprocess.ratiometric import Ratiometric, RatiometricParams


def run(workspace, **params):
    Ratiometric(RatiometricParams(**params)).apply(workspace)
    return workspace["corrected"][...]


def absorbed(frames=500, side=5, seed=0):
    """Calcium 1 + c, and two absorbers whose concentrations set the light of three channels, shape (time, y, x)."""
    rng = np.random.default_rng(seed)
    oxy, deoxy, calcium = (0.02 * rng.normal(size=(frames, side, side)) for _ in range(3))
    return 1 + calcium, oxy, deoxy


def unit(values):
    return values / values.mean(0)


def test_the_ratio_gives_the_calcium_exactly_where_both_channels_lose_the_same_share(make_workspace):
    calcium, oxy, _ = absorbed()
    workspace = make_workspace(
        fluorescence=900 * calcium * np.exp(-oxy), reference=400 * np.exp(-oxy), chunk=100, tile=2
    )
    found = run(workspace)
    np.testing.assert_allclose(unit(found), unit(calcium), rtol=1e-6)
    assert found.mean() == pytest.approx(900, rel=0.01)
    assert workspace["corrected"].attrs["units"] == "counts"


def test_beer_lambert_takes_two_absorbers_away_with_the_exponents_of_their_extinctions(make_workspace):
    calcium, oxy, deoxy = absorbed()
    green, red = (3.0, 3.0), (0.2, 1.5)  # extinction times path of (oxy, deoxy)
    blue = (2.0, 2.6)
    channels = {name: 500 * np.exp(-(e[0] * oxy + e[1] * deoxy)) for name, e in (("green", green), ("red", red))}
    exponents = tuple(np.linalg.solve(np.array([green, red]).T, np.array(blue)))
    signal = 900 * calcium * np.exp(-(blue[0] * oxy + blue[1] * deoxy))
    workspace = make_workspace(fluorescence=signal, **channels)
    found = run(workspace, references=("green", "red"), exponents=exponents)
    np.testing.assert_allclose(unit(found), unit(calcium), rtol=1e-6)
    raw, left = (np.abs(unit(v) - unit(calcium)).mean() for v in (signal, found))
    assert left < 1e-4 * raw


def test_the_difference_is_the_first_order_of_the_ratio(make_workspace):
    calcium, oxy, _ = absorbed()
    signal, reference = 900 * calcium * np.exp(-oxy), 400 * np.exp(-oxy)
    workspace = make_workspace(fluorescence=signal, reference=reference)
    found = run(workspace, form="difference")
    expected = signal.mean(0) * (unit(signal) - (unit(reference) - 1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    small = [
        np.abs(
            unit(
                run(make_workspace(fluorescence=900 * (1 + h * calcium) * (1 + h * oxy), reference=1 + h * oxy), form=f)
            )
            - unit(1 + h * calcium)
        ).max()
        for h, f in ((0.1, "difference"), (0.01, "difference"), (0.1, "power"))
    ]
    assert small[1] < 0.05 * small[0]
    assert small[2] < 1e-5


def test_dark_and_negative_references_are_named(make_workspace):
    calcium, oxy, _ = absorbed()
    reference = 400 * np.exp(-oxy)
    reference[37, 2, 3] = 0
    with pytest.raises(DataError, match="at frame 37") as error:
        run(make_workspace(fluorescence=calcium, reference=reference))
    assert "form=difference" in error.value.fix
    with pytest.raises(DataError, match="mean of 0 or less"):
        run(make_workspace(fluorescence=calcium, reference=-reference))
    with pytest.raises(ValueError, match="one exponent for each"):
        RatiometricParams(references=("a", "b"))


def test_outside_the_brain_is_0(make_workspace):
    calcium, oxy, _ = absorbed()
    brain = np.ones((5, 5), dtype=bool)
    brain[0] = False
    reference = 400 * np.exp(-oxy)
    reference[:, 0] = 0
    found = run(make_workspace(fluorescence=900 * calcium, reference=reference, brain=brain))
    assert (found[:, 0] == 0).all()
    assert np.isfinite(found).all()
