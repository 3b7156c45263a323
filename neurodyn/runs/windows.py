"""The recordings of a run: found where they are, refused if they have changed, and cut to windows. Nothing else does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurodyn.core.errors import DataError
from neurodyn.core.files import sha256
from neurodyn.data.behavior import signal
from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.runs.folder import RunFolder

TRAINED = "was trained on it"
PREDICTED = "predicted it"


def open_windows(run: RunFolder, others: Mapping[str, str] | None = None, ragged: bool | None = None) -> Windows:
    """Cut the recordings of a run as its configuration says, if they are what they were.

    Parameters
    ----------
    others
        Path -> SHA-256 of the recordings that were predicted, where they are others than the run was trained on.
    ragged
        Whether sessions have cells of their own; None for as the recordings have it.

    Raises
    ------
    DataError
        If the run names no recordings, or one of them is gone or has changed.
    """
    config = run.windows
    opened = open_recordings(run, run.inputs) if others is None else open_recordings(run, others, PREDICTED)
    return cut(opened, config, ragged)


def cut(recordings: Sequence[Recording], config: WindowConfig, ragged: bool | None = None) -> Windows:
    """Cut windows from opened recordings."""
    if ragged is None:
        ragged = len({signal(recording, config.variable).shape[1:] for recording in recordings}) > 1
    return Windows.cut(recordings, config, ragged)


def open_recordings(run: RunFolder, on_record: Mapping[str, str], did: str = TRAINED) -> list[Recording]:
    """Open the recordings of a run or of its prediction, if they are what they were.

    Parameters
    ----------
    on_record
        Path -> SHA-256 of then.
    did
        What the run did with them then, in words.

    Raises
    ------
    DataError
        If a recording is gone, or has changed: windows of one content and labels of another would be paired, and windows
        held out then might not be the same now.
    """
    again = "Train again, or name it as any other recording" if did == TRAINED else "Predict again"
    found = []
    for name, then in on_record.items():
        path = run.locate(name)
        recording = Recording.open(path)
        if (now := sha256(path)) != then:
            raise DataError(
                f"{path} has changed since {run.path.name} {did}.",
                f"Its SHA-256 was {then[:12]}… then, and is {now[:12]}… now.",
                f"{again}: neurodyn infer {run.path} {path}",
            )
        found.append(recording)
    return found
