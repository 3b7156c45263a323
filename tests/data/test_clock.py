"""What frame times say."""

import numpy as np

from neurodyn.data.clock import stretch_starts


def test_stretches_begin_after_gaps():
    time = np.r_[np.arange(5), 6.4 + np.arange(3), 20 + np.arange(2)] / 10
    assert stretch_starts(time, 10.0).tolist() == [0, 5, 8]
    assert stretch_starts(time[:1], 10.0).tolist() == [0]
