"""Configuration that several models share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.core.config import Params
from neurodyn.core.search import Choice, Range, Space
from neurodyn.nn.tiling import check_patches, patch_of, require_entries

TOKEN_SEARCH: dict[str, Space] = {
    "model.width": Choice((32, 64, 128)),
    "model.heads": Choice((2, 4, 8)),
    "model.dropout": Range(0.0, 0.3),
}


class BackendConfig(Params):
    """What a back-end is told, what it can, and what it refuses; known before any model is built.

    Attributes
    ----------
    capabilities
        Among `neurodyn.backends.base.CAPABILITIES`.
    stages
        The training stages in order; () for a model that `prepare` fits entirely.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset()
    stages: ClassVar[tuple[str, ...]] = ("main",)

    def check(self, layout: Layout, model: str) -> None:
        """Refuse data that the model cannot be built for; `model` is its name in messages.

        Raises
        ------
        ConfigError
            Saying what it needs.
        """
        for brain in (layout.brain, *(other.brain for other in layout.others)):
            require_entries(brain)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError("must be odd")
    return number


Odd = Annotated[int, AfterValidator(_odd)]


class HeadsConfig(BackendConfig):
    """Attention with several heads, which share the features of a token."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> HeadsConfig:
        sizes = vars(self)
        if sizes["width"] % sizes["heads"]:
            raise ValueError(f"heads ({sizes['heads']}) must divide width ({sizes['width']})")
        return self


class FrameConfig(BackendConfig):
    """How frames are standardised."""

    normalise: Literal["entry", "global"] = Field("entry", description="z-score per pixel or ROI, or over all of them")


class HidingConfig(FrameConfig):
    """What training hides from a model that fills in whole windows."""

    hide: int = Field(5, ge=0, description="most inner frames hidden in a training window")
    visible_weight: float = Field(1.0, ge=0, description="weight of the error on visible frames")
    noise: float = Field(0.0, ge=0, description="noise added to the input in training, standard deviations")
    capabilities: ClassVar = frozenset({"reconstruct", "latents"})

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows without an inner frame."""
        super().check(layout, model)
        layout.require_frames(3, model)


class SourceConfig(FrameConfig):
    """What all models share that read the frames before a horizon."""

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows without a horizon."""
        super().check(layout, model)
        layout.require_horizon(model)


class TokenConfig(HeadsConfig):
    """A transformer over patches."""

    patch: tuple[PositiveInt, PositiveInt] = Field(
        (8, 8), description="height and width of a patch, pixels; traces use none"
    )
    rois: int | None = Field(None, gt=0, description="ROIs in a token of traces (default: all)")
    width: int = Field(64, gt=0, description="features per token")
    heads: int = Field(4, gt=0, description="attention heads; divides width")
    feedforward: int | None = Field(None, gt=0, description="hidden units per block (default: 4 × width)")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")
    band_time: float = Field(2.5, ge=0, description="highest temporal frequency of the position, cycles per window")
    band_space: float = Field(2.5, ge=0, description="highest spatial frequency of the position, cycles per frame")

    def check(self, layout: Layout, model: str) -> None:
        """Refuse patches that do not fit the frame."""
        super().check(layout, model)
        check_patches(layout.brain, patch_of(layout.brain, self.patch, self.rois))

    @property
    def bands(self) -> tuple[float, float, float]:
        """Highest frequency of time, row and column."""
        return self.band_time, self.band_space, self.band_space


class ConvolutionConfig(BackendConfig):
    """The kernel of convolutions that keep the size of a frame."""

    kernel: Odd = Field(3, gt=0, description="side of the convolutions' kernel, pixels, odd")


class MapConfig(BackendConfig):
    """How a model whose states are images gives latents."""

    latent_grid: tuple[PositiveInt, PositiveInt] = Field(
        (4, 4), description="rows and columns to which latents average the states"
    )


class StartConfig(BackendConfig):
    """What a forecast starts from."""

    linear: Literal["none", "shared", "cell"] = Field(
        "none",
        description="ridge forecast beneath the model's own: none, the same for all cells, or with a part for each cell",
    )
    level: Literal["none", "mean", "last"] = Field(
        "none", description="level of the source that is taken off a window before the model sees it"
    )
