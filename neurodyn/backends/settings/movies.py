"""Configuration of the baselines that are trained to fill in or predict frames."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import (
    ConvolutionConfig,
    FrameConfig,
    HidingConfig,
    MapConfig,
    TokenConfig,
)
from neurodyn.core import extras


class NextFrameConfig(FrameConfig):
    """Configuration that all predictors of the next frame share."""

    context: int | None = Field(
        None, gt=0, description="frames seen in training before predictions feed on themselves (default: half a window)"
    )
    capabilities: ClassVar = frozenset({"reconstruct", "latents"})


class ConvGRUConfig(NextFrameConfig, MapConfig, ConvolutionConfig):
    """Configuration of the ConvGRU."""

    encoder: tuple[PositiveInt, ...] = Field((8, 16), min_length=1, description="channels of each cell of the encoder")
    decoder: tuple[PositiveInt, ...] = Field((16, 16), min_length=1, description="channels of each cell of the decoder")


class ConvLSTMConfig(HidingConfig, MapConfig, ConvolutionConfig):
    """Configuration of the ConvLSTM."""

    hidden: int = Field(16, gt=0, description="channels of each cell")
    context: int | None = Field(
        None, gt=0, description="leading frames that the encoder reads; what follows is predicted (default: all)"
    )


class FourierConfig(MapConfig):
    """Sizes that both Fourier neural operators have."""

    width: int = Field(12, gt=0, description="channels")
    layers: int = Field(3, gt=0, description="Fourier layers")
    decoder: int = Field(32, gt=0, description="hidden units of the map from channels to values")


class FNO2DConfig(NextFrameConfig, FourierConfig):
    """Configuration of FNO-2D."""

    history: int = Field(3, gt=0, description="frames from which the next one is predicted")
    modes: tuple[PositiveInt, PositiveInt] = Field((8, 8), description="frequencies kept in rows and columns")


class FNO3DConfig(HidingConfig, FourierConfig):
    """Configuration of FNO-3D."""

    modes: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (4, 8, 8), description="frequencies kept in time, rows and columns"
    )
    padding: int = Field(2, ge=0, description="frames of zeros after the window, since it is not periodic")
    capabilities: ClassVar = HidingConfig.capabilities | {"continuous_time"}


class LatentODEConfig(HidingConfig):
    """Configuration of the LatentODE; frames are standardised as principal components, whatever `normalise` says."""

    components: int = Field(10, gt=0, description="principal components of a frame that are modelled")
    latent: int = Field(4, gt=0, description="latent dimensions")
    dynamics: int = Field(40, gt=0, description="hidden units of the vector field")
    dynamics_layers: int = Field(3, gt=1, description="linear maps of the vector field")
    encoder: int = Field(25, gt=0, description="states per layer of the recognition network")
    encoder_layers: int = Field(2, gt=0, description="layers of the recognition network")
    decoder: int = Field(40, gt=0, description="hidden units of the decoder, which has two linear maps")
    solver: Literal["rk4", "midpoint", "euler", "dopri5"] = Field("rk4", description="integrator, of torchdiffeq")
    substeps: int = Field(1, gt=0, description="steps of the integrator per frame")
    observation_noise: float = Field(
        0.1, ge=0, description="standard deviation of the components given the latents; 0 leaves out the divergence"
    )
    capabilities: ClassVar = HidingConfig.capabilities | {"continuous_time"}

    def check(self, layout: Layout, model: str) -> None:
        """Refuse to begin without its library."""
        super().check(layout, model)
        extras.check("torchdiffeq", "latent_ode")


class LSTMConfig(NextFrameConfig):
    """Configuration of the LSTM."""

    hidden: int = Field(64, gt=0, description="width of the state")


class TransformerConfig(TokenConfig, FrameConfig):
    """Configuration of the Transformer."""

    layers: int = Field(3, gt=0, description="transformer blocks")
    official: bool = Field(False, description="the published network: linear positions, post-norm, two-layer head")
    chosen: float = Field(0.3, gt=0, le=1, description="share of tokens that are guessed in training")
    masked: float = Field(0.8, ge=0, le=1, description="share of the chosen tokens that become the constant")
    swapped: float = Field(0.1, ge=0, le=1, description="share of the chosen tokens that become another one")
    constant: float = Field(0.5, description="what stands for a value that is not known, standard deviations")
    noise: float = Field(0.0, ge=0, description="noise added to the input in training, standard deviations")
    query: Literal["isolated", "joint"] = Field(
        "joint", description="unknown tokens see only known ones and themselves, or all see all (the paper)"
    )
    at_once: int | None = Field(None, gt=0, description="times asked together between frames (default: all)")
    capabilities: ClassVar = frozenset({"reconstruct", "latents", "continuous_time", "attention"})

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows of one frame."""
        super().check(layout, model)
        layout.require_frames(2, model)


class ViT3DConfig(TokenConfig, HidingConfig):
    """Configuration of 3D-ViT."""

    tubelet: int = Field(2, gt=0, description="frames per token")
    layers: int = Field(3, gt=0, description="transformer blocks")


class ViViTConfig(TokenConfig, HidingConfig):
    """Configuration of ViViT."""

    embedding: int | None = Field(
        None, gt=0, description="hidden units of the map from patch to token (default: none, the map is linear)"
    )
    spatial_layers: int = Field(2, gt=0, description="blocks within each frame")
    temporal_layers: int = Field(2, gt=0, description="blocks across frames")
