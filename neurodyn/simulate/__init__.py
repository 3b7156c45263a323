"""Recordings with known truth."""

from neurodyn.core.registry import Registry

SIMULATORS = Registry(
    "simulator",
    {
        "chaotic_rnn": "neurodyn.simulate.chaotic_rnn:ChaoticRNN",
        "lorenz": "neurodyn.simulate.lorenz:Lorenz",
        "rotations": "neurodyn.simulate.rotations:Rotations",
        "two_photon": "neurodyn.simulate.two_photon:TwoPhoton",
        "widefield": "neurodyn.simulate.widefield:Widefield",
    },
    "neurodyn.simulators",
)
