"""Recordings with known truth."""

from neurodyn.core.registry import Registry

SIMULATORS = Registry(
    "simulator",
    {
        "chaotic_rnn": "neurodyn.simulate.chaotic_rnn:ChaoticRNN",
        "lorenz": "neurodyn.simulate.lorenz:Lorenz",
        "miniscope": "neurodyn.simulate.miniscope:Miniscope",
        "moving_texture": "neurodyn.simulate.moving_texture:MovingTexture",
        "navier_stokes": "neurodyn.simulate.navier_stokes:NavierStokes",
        "rotations": "neurodyn.simulate.rotations:Rotations",
        "somata": "neurodyn.simulate.somata:Somata",
        "spirals": "neurodyn.simulate.spirals:Spirals",
        "tuned": "neurodyn.simulate.tuned:Tuned",
        "two_photon": "neurodyn.simulate.two_photon:TwoPhoton",
        "widefield": "neurodyn.simulate.widefield:Widefield",
        "widefield_awake": "neurodyn.simulate.widefield:AwakeWidefield",
    },
    "neurodyn.simulators",
)
