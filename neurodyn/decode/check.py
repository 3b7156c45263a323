"""What can be said of a decoding before anything is fitted: no decoder, and none of their libraries, is imported here."""

from __future__ import annotations

from pathlib import Path

from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.decode import DECODERS
from neurodyn.decode.column import with_target
from neurodyn.decode.gaps import labelled
from neurodyn.decode.sessions import open_pair
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.sliding import check_curves
from neurodyn.decode.source import Source, open_source
from neurodyn.decode.splits import make_folds, order_groups
from neurodyn.decode.targets import make_labels


def check(source: Path, config: DecodeConfig) -> None:
    """Refuse what `decode` would refuse before it fits anything; nothing is written."""
    if config.on_session is not None:
        open_pair(source, config)
        return
    opened, config = opened_for(source, config)
    for session in opened.sessions():
        check_curves(*labelled(session, config), config)


def check_folds(recording: Recording, windows: WindowConfig, config: DecodeConfig) -> None:
    """Refuse what a decoding of a model trained on this recording would refuse for its trials, before there is one."""
    parts = Windows.cut([recording], windows).split()
    labels, _ = make_labels(Source(parts["test"], parts["train"]), with_target(config, recording))
    for protocol in config.protocols():
        make_folds(order_groups(labels.groups, labels.times), protocol)


def opened_for(source: Path, config: DecodeConfig) -> tuple[Source, DecodeConfig]:
    """Open what is decoded, and name its target."""
    if config.decoder is not None:
        DECODERS.get(config.decoder)  # an unknown name ends here, before anything is read
    opened = open_source(source, config)
    return opened, with_target(config, opened.recording)
