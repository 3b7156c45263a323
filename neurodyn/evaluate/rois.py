"""Extracted ROIs against marked regions: precision, recall, F1 and overlap, as a table of scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.regions import Regions, read_regions, regions_of
from neurodyn.data.scores import Score
from neurodyn.evaluate.base import RecordingEvaluation
from neurodyn.metrics.rois import NEUROFINDER_DISTANCE, Estimate, detection_scores, match_centres, overlap_scores

TARGET = "marked regions"


class RoisConfig(Params):
    """What found ROIs are compared with, and how."""

    regions: Path | None = Field(
        default=None, description="marked regions: neurofinder's JSON, or a recording whose ROIs are true"
    )
    distance: float = Field(
        default=NEUROFINDER_DISTANCE, gt=0, description="longest distance of matching centres, pixels"
    )
    seed: int = Field(default=0, ge=0, description="seed of the resamples of regions")


class Rois(RecordingEvaluation):
    """Extracted ROIs against marked regions: precision, recall, F1 and overlap.

    Recordings are made from one movie; the name of each tells its rows apart.
    """

    name = "rois"
    Config = RoisConfig
    config: RoisConfig

    def __init__(self, config: RoisConfig) -> None:
        super().__init__(config)
        if config.regions is None:
            raise ConfigError("There is nothing to score ROIs against.", "Found no --regions.", "Give --regions FILE")
        self.regions = config.regions

    def score(self, sources: Sequence[Recording]) -> Iterator[Score]:
        """Return a row per recording and metric."""
        truth = read_regions(self.regions)
        for recording in sources:
            yield from _scores(recording, truth, self.config)

    def record(self, sources: Sequence[Recording]) -> dict[str, Any]:
        """Return the recordings' paths, and that of the regions."""
        return super().record(sources) | {"regions": str(self.regions)}


def _scores(recording: Recording, truth: Regions, config: RoisConfig) -> list[Score]:
    found = regions_of(recording)
    name = recording.session if recording.path is None else recording.path.stem
    _check_frame(recording, truth)
    pairs = match_centres(found.centres, truth.centres, config.distance)
    estimates = detection_scores(len(found.centres), len(truth.centres), pairs, config.seed)
    if found.pixels is not None and truth.pixels is not None:
        estimates |= overlap_scores(found.pixels, truth.pixels, pairs, config.seed)
    common: dict[str, Any] = {"session": recording.session, "model": "none", "seed": config.seed, "split": "all"}
    common |= {"target": TARGET, "features": name, "decoder": _made_by(recording)}
    note = f"{len(pairs)} pairs of centres within {config.distance:g} px; {len(found.centres)} found, {len(truth.centres)} marked"
    return [_score(metric, estimate, note, common) for metric, estimate in estimates.items()]


def _score(metric: str, estimate: Estimate, note: str, common: dict[str, Any]) -> Score:
    units = {"recall": "marked regions", "precision": "found ROIs", "f1": "regions"}
    return Score(
        metric=metric,
        value=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n=estimate.n,
        unit=units.get(metric, "pairs"),
        note=note,
        **common,
    )


def _made_by(recording: Recording) -> str:
    """Return which step and preset found the ROIs, as the history says."""
    for item in reversed(recording.history):
        if "preset" in (item.get("params") or {}):
            return f"{item['step']} {item['params']['preset']}"
    return ""


def _check_frame(recording: Recording, truth: Regions) -> None:
    """Refuse regions marked in another frame, where that can be told."""
    qc = recording.table("qc")
    if qc is None or "mean_image" not in qc:
        return
    shape = qc["mean_image"].shape
    if (truth.centres >= shape).any() or (truth.centres < 0).any():
        raise DataError(
            "The marked regions do not lie in this movie.",
            f"Their centres reach {truth.centres.max(axis=0).round().tolist()}; frames have {list(shape)}, as (y, x).",
            "Give the regions of this movie, as (row, column) from 0.",
        )
