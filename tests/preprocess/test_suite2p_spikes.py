"""suite2p's spikes are suite2p's, stretch by stretch."""

import numpy as np
import torch

from neurodyn.preprocess.suite2p import import_suite2p
from neurodyn.preprocess.suite2p_spikes import Suite2pSpikes, Suite2pSpikesParams


def test_they_are_those_of_its_own_functions(make_workspace):
    rng = np.random.default_rng(0)
    dff = rng.gamma(0.3, 0.2, (900, 3)).astype("f4")
    time = np.arange(900) / 20 + np.where(np.arange(900) < 500, 0, 2.0)
    workspace = make_workspace(20.0, indicator="GCaMP6s", time=time, dff=dff)
    Suite2pSpikes(Suite2pSpikesParams()).apply(workspace)
    found = workspace["spikes_suite2p"]
    assert found.attrs["tau"] == 1.25
    dcnv = import_suite2p().extraction.dcnv
    for part in (slice(0, 500), slice(500, 900)):
        flat = dcnv.preprocess(dff[part].T.copy(), "maximin", 60.0, 10.0, 20.0, device=torch.device("cpu"))
        np.testing.assert_array_equal(found[part, :].T, dcnv.oasis(np.asarray(flat), 500, 1.25, 20.0))


def test_unlisted_indicators_take_its_default(make_workspace):
    workspace = make_workspace(
        20.0, indicator="OGB-1", dff=np.random.default_rng(1).gamma(0.3, 0.2, (300, 2)).astype("f4")
    )
    Suite2pSpikes(Suite2pSpikesParams()).apply(workspace)
    assert workspace["spikes_suite2p"].attrs["tau"] == 1.0
