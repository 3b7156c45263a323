"""Settings stand apart from models: known without torch, and what a model refuses to be built for, they refuse first."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from neurodyn.backends import BACKENDS, CONFIGS, config_class
from neurodyn.backends.layout import Layout
from neurodyn.core.errors import ConfigError
from tests.contract.test_backends import CODE, HORIZON, RULE, SMALL

GOOD = Layout(10, (11, 9), 10.0, np.ones((11, 9), dtype=bool), horizon=HORIZON, code=CODE, rule=RULE)
TRACES = replace(GOOD, space=(6,), brain=np.ones(6, dtype=bool))
LAYOUTS = {
    "a movie": GOOD,
    "traces": TRACES,
    "no horizon": replace(GOOD, horizon=0),
    "no rule": replace(GOOD, rule=None),
    "one frame": replace(GOOD, frames=1, horizon=0),
    "two frames": replace(GOOD, frames=2, horizon=0),
    "a source of one frame": replace(GOOD, horizon=9),
    "seven frames": replace(GOOD, frames=7),
    "a frame smaller than a patch": replace(GOOD, space=(3, 3), brain=np.ones((3, 3), dtype=bool)),
    "no brain": replace(GOOD, brain=np.zeros((11, 9), dtype=bool)),
    "no cell": replace(TRACES, brain=np.zeros(6, dtype=bool)),
}


def refused(call) -> str | None:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("name", BACKENDS.own)
def test_what_the_model_refuses_its_configuration_refuses(name):
    kind = BACKENDS.get(name)
    config = kind.Config(**SMALL.get(name, {}))
    for case, layout in LAYOUTS.items():
        said = refused(lambda layout=layout: kind(config, layout))
        assert refused(lambda layout=layout: config.check(layout, kind.__name__)) == said, case


@pytest.mark.parametrize(
    ("name", "settings", "what"),
    [
        ("climanet", {"parts": 3}, "3 parts do not divide the window"),
        ("lfads", {"encode": 5.0}, "model.encode is 5 s"),
        ("atmorep", {"weights": {"pupil": 2.0}}, "no signal pupil"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(name, settings, what):
    kind = BACKENDS.get(name)
    for refuse in (kind.Config(**settings).check, lambda layout, _: kind(kind.Config(**settings), layout)):
        with pytest.raises(ConfigError, match=what):
            refuse(TRACES, name)


def test_every_back_end_has_its_configuration_apart():
    assert CONFIGS.own == BACKENDS.own
    for name in BACKENDS.own:
        assert config_class(name) is BACKENDS.get(name).Config


def test_no_configuration_imports_torch():
    code = (
        "import sys; from neurodyn.backends import CONFIGS; [CONFIGS.get(name) for name in CONFIGS.own];"
        "assert not {'torch', 'transformers', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
