"""`Run`: a finished run folder, opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from neurodyn.backends.base import Backend
from neurodyn.backends.layout import Layout
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.windows import Windows
from neurodyn.runs.config import RunConfig
from neurodyn.runs.folder import RunFolder
from neurodyn.runs.windows import open_windows
from neurodyn.training.weights import load_model


@dataclass(frozen=True)
class Run:
    """A trained model with its folder.

    Parameters
    ----------
    folder
        The run folder.
    backend
        The trained model, in evaluation mode, on the CPU.
    """

    folder: RunFolder
    backend: Backend

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.folder.path

    @property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return self.folder.config

    @property
    def recordings(self) -> tuple[Path, ...]:
        """Paths of the recordings it was trained on."""
        return tuple(map(self.folder.locate, self.folder.inputs))

    @cached_property
    def windows(self) -> dict[str, Windows]:
        """The windows of the training recordings, split as in training.

        Raises
        ------
        DataError
            If a recording has changed since: windows that were held out then might not be the same now.
        """
        return self._fitted(open_windows(self.folder, ragged=self._ragged)).split()

    def cut(self, recordings: Sequence[Path]) -> Windows:
        """Cut windows from recordings as in training.

        Raises
        ------
        DataError
            If a recording is gone, or does not fit the model.
        """
        opened = [Recording.open(path) for path in recordings]
        return self._fitted(Windows.cut(opened, self.config.windows, self._ragged))

    @property
    def _ragged(self) -> bool:
        return self.backend.tells_sessions and "sessions" in self.backend.capabilities

    def _fitted(self, windows: Windows) -> Windows:
        """Return windows with what the model learned of its own: its sessions, its code of stimuli, its rule of responses."""
        expected = self.backend.layout
        windows = replace(windows, code=expected.code, rule=expected.rule)
        if self.backend.tells_sessions:
            windows = _placed(windows, expected)
        elif len(expected.sessions) == 1:  # any recordings of its shape stand for the one session the model knows
            windows = replace(windows, places=(0,) * len(windows.recordings))
        check_fit(windows, expected)
        return windows


def check_fit(windows: Windows, layout: Layout) -> None:
    """Refuse windows of another shape than a model was built for.

    Raises
    ------
    DataError
        If they differ in their frames.
    """
    if windows.space != layout.space or windows.frames != layout.frames:
        raise DataError(
            "The recording does not fit the model.",
            f"Found windows of {windows.frames} frames of {windows.space}; expected {layout.frames} of {layout.space}.",
            "Give a recording with the training data's frame and rate.",
        )


def _placed(windows: Windows, layout: Layout) -> Windows:
    """Number recordings as the model's sessions of their names.

    Raises
    ------
    DataError
        If the model does not know a session, or knows it with another number of cells.
    """
    counts = layout.cells or (None,) * len(layout.sessions)  # None: a movie
    known, places = dict(zip(layout.sessions, counts, strict=True)), []
    for recording, cells in zip(windows.recordings, windows.cells or (None,) * len(windows.recordings), strict=True):
        if recording.session not in known or known[recording.session] != cells:
            expected = [name if count is None else f"{name} ({count})" for name, count in known.items()]
            with_cells = "" if cells is None else f" with {cells} cells"
            raise DataError(
                f"The model was not trained on session {recording.session}{with_cells}.",
                f"It knows {', '.join(expected)}.",
                "Give a recording of these sessions, or train with this one.",
            )
        places.append(layout.sessions.index(recording.session))
    padded = None if windows.padded is None else layout.space[0]
    return replace(windows, padded=padded, places=tuple(places))


def load_run(path: Path) -> Run:
    """Open a finished run.

    Raises
    ------
    DataError
        If there is no run, or it is not finished.
    """
    folder = RunFolder(Path(path))
    folder.require_done()
    _ = folder.inputs, folder.config  # what is wrong with these is said before weights are read
    return Run(folder, load_model(folder.path))
