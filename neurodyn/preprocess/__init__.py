"""Preprocessing: one step per file, run as a chain."""

from neurodyn.core.registry import Registry

STEPS = Registry(
    "step",
    {
        "neuropil": "neurodyn.preprocess.neuropil:Neuropil",
        "dff": "neurodyn.preprocess.dff:Dff",
        "hemodynamics": "neurodyn.preprocess.hemodynamics:Hemodynamics",
        "patch_hemodynamics": "neurodyn.preprocess.patch_hemodynamics:PatchHemodynamics",
        "svd": "neurodyn.preprocess.svd:Svd",
        "svd_hemodynamics": "neurodyn.preprocess.svd_hemodynamics:SvdHemodynamics",
        "ratiometric": "neurodyn.preprocess.ratiometric:Ratiometric",
        "deconvolution": "neurodyn.preprocess.deconvolution:Deconvolution",
        "spike_network": "neurodyn.preprocess.spike_network:SpikeNetworkStep",
        "counts": "neurodyn.preprocess.counts:Counts",
        "suite2p_spikes": "neurodyn.preprocess.suite2p_spikes:Suite2pSpikes",
        "zscore": "neurodyn.preprocess.zscore:ZScore",
        "register": "neurodyn.preprocess.register:Register",
        "detrend": "neurodyn.preprocess.detrend:Detrend",
    },
    "neurodyn.steps",
)
