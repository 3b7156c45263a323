"""Preprocessing: one step per file, run as a chain."""

from neurodyn.core.registry import Registry

STEPS = Registry(
    "step",
    {
        "neuropil": "neurodyn.preprocess.neuropil:Neuropil",
        "dff": "neurodyn.preprocess.dff:Dff",
        "hemodynamics": "neurodyn.preprocess.hemodynamics:Hemodynamics",
        "deconvolution": "neurodyn.preprocess.deconvolution:Deconvolution",
        "zscore": "neurodyn.preprocess.zscore:ZScore",
        "register": "neurodyn.preprocess.register:Register",
        "detrend": "neurodyn.preprocess.detrend:Detrend",
    },
    "neurodyn.steps",
)
