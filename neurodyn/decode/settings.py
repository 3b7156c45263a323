"""What is decoded, from what, and how it is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.curves import Kind
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode import DECODERS
from neurodyn.decode.base import Decoder, Task


class Protocol(Params):
    """Cross-validation, tuning, null and reduction, the same for every decoder."""

    split: Literal["trial", "blocked", "random"] = Field(
        default="blocked", description="what never crosses training and test: whole trials, blocks of time, or nothing"
    )
    folds: int = Field(default=5, ge=2, description="folds")
    test_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="test share of each repeat, instead of folds (blocked: one stretch of trials)",
    )
    repeats: int = Field(default=1, ge=1, description="repeats with another division")
    gap: int = Field(
        default=1, ge=0, description="trials dropped from training on each side of a test block (split: blocked)"
    )
    shuffles: int = Field(
        default=200, ge=0, description="null labels: permutations, or shifts where order is not random"
    )
    bootstraps: int = Field(
        default=2000,
        ge=100,
        description="bootstrap samples of trials for the interval of decoders that are too costly to be trained again",
    )
    tune: bool = Field(
        default=True, description="choose the decoder's settings inside each training fold, grouped by trial"
    )
    inner_folds: int = Field(default=4, ge=2, description="folds of that tuning")
    pca: int | None = Field(
        default=None, ge=1, description="components fitted inside each training fold, for every feature"
    )
    wide: int = Field(
        default=256,
        ge=1,
        description="features wider than this are rotated onto what the training samples span, where the decoder allows "
        "it, else reduced to `wide_pca` components inside the training fold",
    )
    wide_pca: int = Field(
        default=50,
        ge=1,
        description="components kept of wide features where they are not rotated and `pca` is not given",
    )
    detrend: bool = Field(default=False, description="subtract each feature's slow course, told by training samples")
    seed: int = Field(default=0, ge=0, description="seed of divisions, shuffles and bootstraps")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.split == "blocked" and self.repeats > 1 and self.test_fraction is None:
            raise ValueError("blocked folds are fixed: repeats need a test_fraction")
        return self


def paper_protocols(shuffles: int = 200, seed: int = 0) -> tuple[Protocol, Protocol]:
    """Return the published contrast protocol, and the same without neighbours of test windows in training.

    PCA to 10 components, 70/30, 10 repeats (Fonseca et al. 2023, Table 3); to be used with 3 nearest neighbours.
    """
    common = {"test_fraction": 0.3, "repeats": 10, "pca": 10, "tune": False, "shuffles": shuffles, "seed": seed}
    return Protocol(split="random", **common), Protocol(split="blocked", **common)


class DecodeConfig(Params):
    """One decoding: what, from what, with what, how it is scored."""

    target: str | None = Field(
        default=None,
        min_length=1,
        description="stimulus or behaviour column; direction%180 takes the rest (default: the only stimulus column)",
    )
    transform: Literal["none", "sqrt"] | None = Field(
        default=None,
        description="sqrt: 2 sqrt(value / largest) - 1, from -1 to 1 (default: sqrt in the paper protocol)",
    )
    blank: Literal["zero", "drop"] | None = Field(
        default=None,
        description="windows that end outside any stimulus: value 0, or left out (default: left out, unless 0 is the absence of "
        "the stimulus, as for contrast)",
    )
    features: tuple[str, ...] = Field(
        default=(),
        description="VARIABLE, pca, factors, reduced_rank or, of a model, summary, latents, reconstruction, rates, "
        "inferred_spikes, inputs or attention, with :REDUCTION; :best is chosen inside training folds; raw rows always come too",
    )
    against: tuple[str, ...] = Field(
        default=(),
        description="rows that the others are compared with, trial by trial, in the notes (default: the first row of the signal)",
    )
    decoder: str | None = Field(
        default=None, description="decoder (default: ridge for numbers and circles, lda for classes)"
    )
    params: dict[str, Any] = Field(default_factory=dict, description="the decoder's own settings")
    task: Task | None = Field(
        default=None,
        description="a quantity, classes, or a circle for directions, orientations and phases (default: by the target's name "
        "and values, as far as the decoder can)",
    )
    period: float | None = Field(
        default=None,
        gt=0,
        description="value at which a circular target begins again, in its own unit (default: by name and values)",
    )
    protocol: Literal["default", "paper"] = Field(
        default="default", description="paper: PCA-10 and 3 nearest neighbours, 70/30 ten times, random and blocked"
    )
    splits: tuple[Literal["trial", "blocked", "random"], ...] = Field(
        default=("blocked",), min_length=1, description="kinds of division; each is a row of its own"
    )
    folds: int = Field(default=5, ge=2, description="cross-validation folds")
    shuffles: int | None = Field(
        default=None, ge=0, description="label shuffles for the null (default: 200; gru 20, since each is a training)"
    )
    tune: bool = Field(default=True, description="tune the decoder inside each training fold")
    pca: int | None = Field(
        default=None, ge=1, description="components fitted inside each training fold, for every feature"
    )
    gap: int = Field(default=1, ge=0, description="trials dropped beside a test block")
    detrend: bool = Field(
        default=False,
        description="subtract each feature's slow course over the recording, as the training trials of a fold tell it: a mean of "
        "neighbours, weights of standard deviation a tenth of the recording; takes slow responses away, too",
    )
    components: int = Field(default=20, ge=1, description="components of `pca`, fitted on the run's training frames")
    grid: tuple[int, int] = Field(default=(5, 5), description="rows and columns of `patches`")
    windows: WindowConfig = Field(
        default=WindowConfig(),
        description="windows, when the source is a bare recording (default: around events; along the stream for behaviour and "
        "for contrast and the like)",
    )
    on: Literal["test", "all"] | None = Field(
        default=None, description="windows of a bare recording: its test part or all (default: all)"
    )
    curves: tuple[Kind, ...] = Field(
        default=(),
        description="time: scores along trials; cells: of random draws of 1, 2, 4, … cells; generalise: trained at one time, "
        "tested at another; by the first of the splits, from the signal itself",
    )
    curve_window: float = Field(default=0.25, gt=0, description="length of the windows that slide along trials, s")
    curve_step: float = Field(default=0.125, gt=0, description="time from one such window to the next, s")
    curve_draws: int = Field(default=10, ge=2, description="random draws of cells of each number")
    on_session: Path | None = Field(
        default=None,
        description="another recording of the same cells, on which decoders that are trained on the first one are tested",
    )
    matching: Path | None = Field(
        default=None,
        description="cells.csv of `neurodyn match`: which cells of the two are the same (default: those of one id)",
    )
    name: str = Field(
        default="scores", pattern=r"^[A-Za-z0-9_.-]+$", description="file stem suffix, to keep several decodings"
    )
    seed: int = Field(default=0, ge=0, description="seed of folds, shuffles and bootstraps")

    @model_validator(mode="after")
    def _of_two_sessions(self) -> Self:
        if self.on_session is None and self.matching is not None:
            raise ValueError("matching says which cells are the same in two sessions: name the other one, on_session")
        if self.on_session is not None and (self.curves or self.detrend or self.on == "test"):
            raise ValueError("on_session takes all windows of two recordings as they are: no curves, detrend, on: test")
        return self

    def protocols(self) -> tuple[Protocol, ...]:
        """Return one protocol per division."""
        usual = DECODERS.get(self.decoder).shuffles if self.decoder else Decoder.shuffles
        shuffles = usual if self.shuffles is None else self.shuffles
        if self.protocol == "paper":
            published = paper_protocols(shuffles, self.seed)
            return tuple(one.model_copy(update={"detrend": self.detrend}) for one in published)
        common = {"folds": self.folds, "shuffles": shuffles, "tune": self.tune, "pca": self.pca, "gap": self.gap}
        common["detrend"] = self.detrend
        return tuple(Protocol(split=split, seed=self.seed, **common) for split in self.splits)
