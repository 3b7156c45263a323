"""Elementary functions for vector units are the true ones to single precision."""

import numpy as np
import pytest

from neurodyn.compiled import elementary
from neurodyn.compiled.base import compiled


def over(function, x):
    @compiled
    def loop(x, out):
        for i in range(len(x)):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp"])
def test_it_is_right_to_single_precision(name):
    x = np.linspace(-20, 20, 100_001, dtype=np.float32)
    exact = {"tanh": np.tanh, "exp": np.exp, "sigmoid": lambda v: 1 / (1 + np.exp(-v))}[name](x.astype(np.float64))
    found = over(getattr(elementary, name), x)
    scale = exact if name == "exp" else 1.0
    assert np.abs((found - exact) / scale).max() < 4e-7


def test_the_exponential_is_limited_to_what_single_precision_holds():
    found = over(elementary.exp, np.array([-1e30, -87, 87, 1e30], dtype=np.float32))
    np.testing.assert_allclose(found, np.exp([-87, -87, 87, 87]), rtol=4e-7)
