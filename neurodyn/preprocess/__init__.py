"""Preprocessing: one step per file, run as a chain."""

from neurodyn.core.registry import Registry

STEPS = Registry(
    "step",
    {
        "neuropil": "neurodyn.preprocess.neuropil:Neuropil",
        "dff": "neurodyn.preprocess.dff:Dff",
        "hemodynamics": "neurodyn.preprocess.hemodynamics:Hemodynamics",
        "deconvolution": "neurodyn.preprocess.deconvolution:Deconvolution",
        "suite2p_spikes": "neurodyn.preprocess.suite2p_spikes:Suite2pSpikes",
        "zscore": "neurodyn.preprocess.zscore:ZScore",
        "register": "neurodyn.preprocess.register:Register",
        "detrend": "neurodyn.preprocess.detrend:Detrend",
    },
    "neurodyn.steps",
)
