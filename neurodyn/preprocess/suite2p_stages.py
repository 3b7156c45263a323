"""suite2p's stages one by one, so that we may look at the registered movie before cells are sought in it."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from neurodyn.core.errors import DataError, NeurodynError, WorkError

Progress = Callable[[str, float], None]
Roi = dict[str, Any]
NONE_FOUND = "no ROIs"  # how suite2p's message begins


@dataclass(frozen=True)
class Stages:
    """A movie in suite2p's hands.

    Parameters
    ----------
    suite2p
        The package.
    binary
        Its file of the movie, shape (time, y, x), int16.
    scratch
        Folder for what it writes on the way.
    settings
        Its nested settings.
    device
        Torch device.
    progress
        Called with the stage and the share of it that is done.
    """

    suite2p: ModuleType
    binary: Any
    scratch: Path
    settings: dict[str, Any]
    device: str
    progress: Progress | None

    def register(self) -> dict[str, Any]:
        """Register the movie in place; return displacements, the part seen in every frame and more."""
        only = self.settings | {"run": self.settings["run"] | {"do_detection": False}}
        with self._working("registration"):
            outputs = self.suite2p.pipeline(
                str(self.scratch),
                self.binary,
                run_registration=only["run"]["do_registration"] > 0,
                settings=only,
                device=torch.device(self.device),
            )
        return outputs[0]

    def bin(self, registration: Mapping[str, Any]) -> np.ndarray:
        """Return the movie binned over time as detection takes it, of the part seen in every frame, shape (bin, y, x)."""
        detection = self.settings["detection"]
        frames, chosen = self.binary.shape[0], detection["nbins"]
        width = detection.get("bin_size") or max(1, frames // chosen, round(self.settings["tau"] * self.settings["fs"]))
        with self._working("roi detection"):
            return self.suite2p.detection.bin_movie(
                self.binary, int(width), **_seen(registration), badframes=registration["badframes"], nbins=chosen
            )

    def detect(self, registration: Mapping[str, Any], binned: np.ndarray) -> list[Roi]:
        """Return the ROIs that suite2p finds by their activity; none where it says that there are none."""
        diameter = np.broadcast_to(np.asarray(self.settings["diameter"], dtype=float), 2)
        try:
            with self._working("roi detection"):
                _, rois, _ = self.suite2p.detection_wrapper(
                    self.binary,
                    diameter=diameter,
                    tau=self.settings["tau"],
                    fs=self.settings["fs"],
                    **_seen(registration),
                    mov=binned,
                    preclassify=self.settings["classification"]["preclassify"],
                    classifier_path=self._classifier(),
                    settings=self.settings["detection"],
                    device=torch.device(self.device),
                )
        except DataError:
            return []
        return list(rois)

    def complete(self, rois: list[Roi], most_overlap: float | None) -> list[Roi]:
        """Return ROIs of pixels and weights with suite2p's measures of shape and overlap.

        Parameters
        ----------
        most_overlap
            Share of shared pixels beyond which a ROI is left out, later ones first; None keeps all.
        """
        shape, diameter = self.binary.shape[1:], np.broadcast_to(np.asarray(self.settings["diameter"], float), 2)
        with self._working("extraction"):
            measured = self.suite2p.detection.roi_stats(
                np.array(rois, dtype=object), *shape, diameter=diameter, max_overlap=most_overlap
            )
            return list(self.suite2p.detection.assign_overlaps(measured, *shape))

    def traces(self, rois: list[Roi]) -> tuple[np.ndarray, np.ndarray]:
        """Return fluorescence and neuropil, each shape (roi, time), and put `snr` and `skew` into the ROIs."""
        from scipy.stats import skew

        chosen = self.settings["extraction"]
        with self._working("extraction"):
            fluorescence, neuropil, *_ = self.suite2p.extraction_wrapper(
                rois, self.binary, settings=chosen, device=torch.device(self.device)
            )
        corrected = fluorescence - chosen["neuropil_coefficient"] * neuropil
        variance = np.maximum(corrected.var(axis=1), np.finfo(np.float32).tiny)
        snr = 1 - 0.5 * np.diff(corrected, axis=1).var(axis=1) / variance
        for roi, clear, lean in zip(rois, snr, skew(corrected, axis=1), strict=True):
            roi |= {"snr": clear, "skew": lean}
        return fluorescence, neuropil

    def classify(self, rois: list[Roi]) -> np.ndarray:
        """Return suite2p's verdict (0 or 1) and probability of being a cell, shape (roi, 2)."""
        with self._working("roi classification"):
            return self.suite2p.classify(stat=rois, classfile=self._classifier())

    def _classifier(self) -> Any:
        from suite2p.classification import builtin_classfile, user_classfile

        chosen = self.settings["classification"]
        if chosen.get("classifier_path") and Path(chosen["classifier_path"]).exists():
            return chosen["classifier_path"]
        return builtin_classfile if chosen["use_builtin_classifier"] or not user_classfile.exists() else user_classfile

    @contextlib.contextmanager
    def _working(self, stage: str) -> Iterator[None]:
        """Tell the stage, and turn whatever suite2p raises into one message."""
        try:
            with quiet(), _listening(self.progress, f"suite2p {stage}"):
                yield
        except NeurodynError:
            raise
        except Exception as error:
            raise _failed(error) from error


def _seen(registration: Mapping[str, Any]) -> dict[str, Any]:
    return {"yrange": registration["yrange"], "xrange": registration["xrange"]}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep a third party's warnings to itself and its prints off stdout, which carries our product only."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def _failed(error: Exception) -> NeurodynError:
    said = f"{type(error).__name__}: {error}"
    if str(error).startswith(NONE_FOUND):
        return none_found(said)
    return WorkError("suite2p could not extract ROIs.", said, "Check rate and axes: neurodyn inspect MOVIE")


def none_found(found: str) -> DataError:
    """Return what to tell where there is no ROI at all."""
    return DataError(
        "No ROI was found in the movie.",
        found,
        "Check rate and axes, or look closer: --set detection.threshold_scaling=0.5 --diameter 8",
    )


class _Stages(logging.Handler):
    """Turns suite2p's log into shares of a stage."""

    def __init__(self, report: Progress, stage: str) -> None:
        super().__init__(logging.INFO)
        self._report, self._stage = report, stage

    def emit(self, record: logging.LogRecord) -> None:
        """Report the share that a tqdm line shows."""
        if share := re.search(r"(\d+)%\|", record.getMessage()):
            self._report(self._stage, int(share[1]) / 100)


@contextlib.contextmanager
def _listening(progress: Progress | None, stage: str) -> Iterator[None]:
    """Route suite2p's log to `progress` alone."""
    report = progress or (lambda stage, share: None)
    logger, handler = logging.getLogger("suite2p"), _Stages(report, stage)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    report(stage, 0.0)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
