"""Elementary functions of float32 that compile to vector instructions, as those of the C library do not."""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled

SATURATED = np.float32(9.0)
ZERO, HALF, ONE, TWO = (np.float32(value) for value in (0.0, 0.5, 1.0, 2.0))
LARGEST_EXPONENT, LOG2_E = np.float32(87.0), np.float32(1.44269504)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
TERM_3, TERM_4, TERM_5, TERM_6 = (np.float32(1 / k) for k in (6, 24, 120, 720))


@compiled
def tanh(x: np.float32) -> np.float32:
    """Return tanh(x) to 2e-7, in arithmetic that vector units do.

    Lambert's continued fraction a / b at x / 4; then tanh 2y = 2 tanh y / (1 + tanh² y) twice, as 2ab / (a² + b²), so that
    there is one division.
    """
    y = min(max(x, -SATURATED), SATURATED) * np.float32(0.25)
    s = y * y
    a = y * (np.float32(135135) + s * (np.float32(17325) + s * (np.float32(378) + s)))
    b = np.float32(135135) + s * (np.float32(62370) + s * (np.float32(3150) + s * np.float32(28)))
    a, b = TWO * a * b, a * a + b * b
    return TWO * a * b / (a * a + b * b)


@compiled
def sigmoid(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x))."""
    return HALF + HALF * tanh(HALF * x)


@compiled
def exp(x: np.float32) -> np.float32:
    """Return exp(x) to 3e-7 of it, in arithmetic that vector units do; |x| is limited to 87.

    x = k ln 2 + r with |r| < 0.35: Taylor's polynomial in r, and k put into the bits of the exponent.
    """
    x = min(max(x, -LARGEST_EXPONENT), LARGEST_EXPONENT)
    k = np.floor(x * LOG2_E + HALF)
    r = x - k * LN2_HIGH - k * LN2_LOW
    p = ONE + r * (ONE + r * (HALF + r * (TERM_3 + r * (TERM_4 + r * (TERM_5 + r * TERM_6)))))
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
