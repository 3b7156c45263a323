"""What a source cannot say of itself: where its variables lie, its rate, and what lies beside it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.clock import Unit
from neurodyn.readers.behavior import BehaviorLog
from neurodyn.readers.signals import FrameTimes
from neurodyn.readers.stimulus import StimulusLog

SPAN = r"^[0-9]+:[0-9]+$"


class VariablePlace(Params):
    """Where one neural variable lies in the source."""

    key: str | None = Field(default=None, description="dataset name inside an HDF5 or npz file (default: the only one)")
    axes: str = Field(default="", description="axes in order, of trial, time, roi, y, x (default: by number of axes)")
    first: int = Field(default=0, ge=0, description="first frame of this channel")
    every: int = Field(default=1, ge=1, description="distance between frames of this channel")


class ReadOptions(Params):
    """What a file cannot say about itself."""

    fs: float | None = Field(default=None, gt=0, description="frames per second and channel, Hz")
    channels: tuple[str, ...] = Field(
        default=(), description="names of interleaved channels, in their order in the file"
    )
    variables: dict[str, VariablePlace] = Field(
        default_factory=dict, description="variable name -> where it lies; excludes channels"
    )
    axes: str = Field(default="", description="axes in order, of trial, time, roi, y, x")
    key: str | None = Field(default=None, description="dataset name inside an HDF5 or npz file")
    times: str | None = Field(default=None, description="dataset with frame times of all frames in the file")
    times_unit: Unit | None = Field(
        default=None, description="unit of these frame times (default: as the dataset or its name says it, else s)"
    )
    indicator: str = Field(default="unknown", description="calcium indicator")
    session: str | None = Field(default=None, description="name of the session (default: the file's stem)")
    units: dict[str, str] = Field(default_factory=dict, description="variable name -> unit")
    trial_onset: float = Field(
        default=0.0, ge=0, description="stimulus onset within each trial, s from the trial's first frame"
    )
    trial_stop: float | None = Field(
        default=None, ge=0, description="stimulus end within each trial, s (default: the trial's end)"
    )
    trial_gap: float = Field(
        default=1.0, gt=0, description="gap put between trials whose spacing the file does not give, s"
    )
    trial_columns: dict[str, str] = Field(
        default_factory=dict, description="stimulus column -> dataset with one value per trial"
    )
    brain: str | None = Field(
        default=None,
        description="dataset or image file with the brain mask, non-zero inside; 'auto' thresholds the mean image (Otsu)",
    )
    demux: Literal["order", "correlation", "table"] = Field(
        default="order",
        description="how interleaved frames get their channel: by their order, by likeness to each channel's last "
        "frame in pattern and brightness (correlation), or from frame_channel; the last two find dropped frames and put every frame in its place",
    )
    frame_channel: str | None = Field(
        default=None,
        description="demux table: .npy, .csv or dataset with the channel of every frame, from 0 (LED, TTL)",
    )
    split: Literal["x", "y"] | None = Field(
        default=None,
        description="axis along which the channels lie side by side in every frame (two cameras, one file)",
    )
    plane: int | None = Field(default=None, ge=0, description="plane of a volumetric recording, from 0")
    frame: tuple[int, int] | None = Field(
        default=None, description="rows and columns of frames kept as one column of pixels each, down the columns first"
    )
    stimulus: StimulusLog | None = Field(
        default=None, description="stimulus log beside the recording, and the photodiode that timed it"
    )
    behavior: BehaviorLog | None = Field(default=None, description="courses of behaviour beside the recording")
    frame_times: FrameTimes | None = Field(
        default=None, description="camera pulses, or list of times, one per frame of the file"
    )
    rows: str | None = Field(
        default=None, pattern=SPAN, description="rows of a movie that are kept, from 0, the end left out: 0:256"
    )
    columns: str | None = Field(
        default=None, pattern=SPAN, description="columns of a movie that are kept, from 0, the end left out: 0:256"
    )
    field: int | None = Field(
        default=None,
        ge=0,
        description="ScanImage only: field of a multi-ROI page, from 0; rows and columns count in it",
    )
    incomplete: bool = Field(
        default=False,
        description="of an acquisition that was stopped or cut off, read the whole frames that are there",
    )
    bin: int = Field(default=1, ge=1, description="pixels binned by their mean, along y and x, while reading")
    templates: bool = Field(default=False, description="Allen only: also keep the pictures and movies that were shown")
    skip: tuple[str, ...] = Field(default=(), description="Allen only: stimuli that are left out of the stimulus table")
    pickle: bool = Field(
        default=False,
        description="suite2p only: also read rate, masks and pictures from stat.npy, ops.npy and their like, through an "
        "unpickler that builds plain data and refuses all else",
    )
    cells_only: bool = Field(
        default=True, description="suite2p only: leave out the ROIs that its iscell does not count as cells"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.channels and self.variables:
            raise ValueError("give channels or variables, not both")
        if self.split and not self.channels:
            raise ValueError("split needs channels: the names of the pictures that lie side by side")
        if (self.demux == "table") != (self.frame_channel is not None):
            raise ValueError("demux 'table' needs frame_channel, and frame_channel needs demux 'table'")
        return self
