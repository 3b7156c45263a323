"""Recordings with known truth."""

from neurodyn.core.registry import Registry

SIMULATORS = Registry(
    "simulator",
    {
        "two_photon": "neurodyn.simulate.two_photon:TwoPhoton",
        "widefield": "neurodyn.simulate.widefield:Widefield",
    },
    "neurodyn.simulators",
)
