"""`check`: what a training would refuse, refused in a fraction of the time that importing torch takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurodyn.backends import BACKENDS
from neurodyn.backends.layout import Layout
from neurodyn.data.recording import Recording
from neurodyn.runs.config import RunConfig
from neurodyn.training.config import backend_config
from neurodyn.training.opening import check_stages, labelled, opened


def check(config: RunConfig, recordings: Sequence[Path | Recording], *, gpu: str = "auto") -> None:
    """Refuse what `fit` would refuse before it trains; nothing is written, and no model is built but to start from one."""
    if gpu == "auto" and config.training.processes == 1:
        gpu = "none"  # either is one process, and whether there is a GPU only torch knows
    _, _, parts = opened(config, recordings, gpu)
    train = labelled(parts)["train"]
    check_stages(config)
    backend_config(config).check(Layout.of(train), BACKENDS.targets()[config.backend].rpartition(":")[2])
    if config.start:
        from neurodyn.training.fit import stages_left

        stages_left(config, train)  # whether the weights fit only the models know
