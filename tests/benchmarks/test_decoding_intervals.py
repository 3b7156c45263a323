"""Coverage of 95 % intervals of decoding scores, and of differences of two features, by decoder, trials and noise."""

import re

import numpy as np
import pytest

from neurodyn.decode.protocol import evaluate
from neurodyn.decode.settings import Protocol
from tests.decode.recordings import recording

MINUS = re.compile(r"minus strong: (\S+) \(95 %: (\S+) to (\S+)\)")
CASES = [
    ("regress", "ridge", 1.5, 400),
    ("regress", "knn", 1.5, 400),
    ("classify", "lda", 2.0, 400),
    ("classify", "knn", 2.0, 400),
    ("classify", "logistic", 2.0, 100),
    ("circular", "ridge", 1.5, 400),
    ("regress", "ridge", 0.0, 400),
]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("trials", [20, 40, 100])
@pytest.mark.parametrize(("task", "decoder", "strength", "sets"), CASES)
def test_coverage(task, decoder, strength, sets, trials, rho):
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for seed in range(sets):
        features, labels = recording(np.random.default_rng([trials, seed]), task, trials, strength, rho)
        for score in evaluate(features, labels, decoder=decoder, protocol=Protocol(shuffles=0)):
            if score.fold != "all":
                continue
            ends = (score.value, score.ci_low, score.ci_high)
            found.setdefault((score.features, score.metric), []).append(ends)
            if said := MINUS.search(score.note):
                low = tuple(float(x) for x in said.groups())
                found.setdefault(("weak - strong", score.metric), []).append((low[0], low[1], low[2]))
    error = np.sqrt(0.05 * 0.95 / sets)
    for (features, metric), rows in found.items():
        value, low, high = np.array(rows).T
        share = ((low - 1e-9 <= value.mean()) & (value.mean() <= high + 1e-9)).mean()
        print(f"{decoder} {trials} rho {rho} {features} {metric} {value.mean():.3f}: covered {share:.3f} ± {error:.3f}")
        assert share > 0.93 - 3 * error, (features, metric)
