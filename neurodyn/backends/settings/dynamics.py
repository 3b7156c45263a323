"""Configuration of the models of latent dynamics."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import BackendConfig
from neurodyn.core.errors import ConfigError
from neurodyn.metrics.factor_analysis import most_factors

FEWEST, MOST = 3, 2000
ZERO_INFLATED = ("zero_inflated_gamma", "lognormal")


class GeneratorConfig(BackendConfig):
    """Sizes and training of a generator of latent dynamics."""

    factors: int = Field(8, gt=0, description="latent factors")
    generator: int = Field(64, gt=0, description="states of the generator")
    initial: int = Field(64, gt=0, description="latents of the generator's initial state")
    inputs: int = Field(0, ge=0, description="inferred inputs of the generator; 0 for autonomous dynamics")
    dropout: float = Field(0.05, ge=0, lt=1, description="share of encoder and generator states left out in training")
    l2: float = Field(250.0, ge=0, description="penalty on the generator's recurrent weights")
    kl: float = Field(
        1.0,
        gt=0,
        description="weight of the divergences of initial state and inputs from their priors; 1 is the evidence bound, less "
        "lets more of single windows through",
    )
    samples: int = Field(50, gt=0, description="posterior samples a prediction averages")


class LFADSConfig(GeneratorConfig):
    """Configuration of LFADS."""

    likelihood: Literal["poisson", "gaussian", "gaussian_exp", "zero_inflated_gamma", "lognormal"] = Field(
        "poisson", description="density of the data given the factors"
    )
    loc: float | None = Field(
        None, ge=0, description="smallest event, in the data's unit, of the zero-inflated likelihoods (default: theirs)"
    )
    variance: float = Field(0.5, gt=0, description="variance of gaussian_exp, in the data's unit, squared")
    encoder: int = Field(64, gt=0, description="states per direction of the encoder of the initial state")
    controller: int = Field(64, gt=0, description="states of the controller that infers the inputs")
    read_in: int | None = Field(
        None, gt=0, description="width to which cells of several sessions are mapped (default: as many as factors)"
    )
    encode: float | None = Field(
        None, gt=0, description="leading part of a window that the encoders see, s; what follows is predicted"
    )
    coordinated_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of data hidden from the encoders in training, which alone trains; 0: all do"
    )
    pass_rate: float = Field(0.0, ge=0, le=1, description="share of the other data that trains, too")
    warmup: int = Field(320, ge=0, description="steps in which divergences and penalty grow to their full weight")
    capabilities: ClassVar = frozenset(
        {"reconstruct", "forecast", "latents", "cosmoothing", "inputs", "sessions", "uncertainty"}
    )

    @model_validator(mode="after")
    def _consistent(self) -> LFADSConfig:
        if self.loc is not None and self.likelihood not in ZERO_INFLATED:
            raise ValueError(f"loc is for {' and '.join(ZERO_INFLATED)}, not for {self.likelihood}")
        return self

    def check(self, layout: Layout, model: str) -> None:
        """Refuse to encode nothing, or more than a window."""
        super().check(layout, model)
        self.frames_encoded(layout)

    def frames_encoded(self, layout: Layout) -> int:
        """Return how many frames the encoders see.

        Raises
        ------
        ConfigError
            If it is none, or more than there are.
        """
        if self.encode is None:
            return layout.frames
        frames = round(self.encode * layout.rate_hz)
        if not 1 <= frames <= layout.frames:
            raise ConfigError(
                f"model.encode is {self.encode:g} s, which is {frames} frames.",
                f"A window has {layout.frames} frames at {layout.rate_hz:g} Hz.",
                f"Encode at most the window: --set model.encode={layout.frames / layout.rate_hz:g}",
            )
        return frames


class FactorDynamicsConfig(BackendConfig):
    """Configuration of factor analysis with dynamics."""

    factors: int = Field(20, gt=0, description="factors, at most as many as the cells can tell apart")
    likelihood: Literal["gaussian", "poisson"] = Field("gaussian", description="density of the data given the factors")
    scales: tuple[PositiveFloat, ...] = Field(
        (0.1, 0.3, 1.0), description="widths of the Gaussians that smooth the factors, standard deviations, s"
    )
    states: int = Field(64, gt=0, description="states per direction of the network that corrects the factors")
    hide: float = Field(0.3, gt=0, lt=1, description="share of the cells that training hides, others in every window")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of the factors' values left out in training")
    state_dropout: float = Field(0.4, ge=0, lt=1, description="share of the network's states left out in training")
    capabilities: ClassVar = frozenset({"reconstruct", "latents", "cosmoothing"})

    def factors_of(self, cells: int) -> int:
        """Return how many factors so many cells get."""
        return min(self.factors, most_factors(cells))

    def check(self, layout: Layout, model: str) -> None:
        """Refuse too few cells to tell one from the others, and so many that their products do not fit."""
        super().check(layout, model)
        cells = int(layout.brain.sum())
        if not FEWEST <= cells <= MOST:
            raise ConfigError(
                f"{model} cannot be fitted to {cells} cells or pixels.",
                f"Expected {FEWEST} to {MOST}.",
                "Give traces of cells, or bin the movie: neurodyn preprocess",
            )


class CaLFADSConfig(GeneratorConfig):
    """Configuration of CaLFADS."""

    deep_encoder: int = Field(64, gt=0, description="states per direction of the encoder of the initial state")
    deep_controller: int = Field(64, gt=0, description="states of the controller that infers the inputs")
    encoder: int = Field(32, gt=0, description="states per direction of the encoder of spikes")
    controller: int = Field(32, gt=0, description="states of the controller of spikes")
    latent: int = Field(64, gt=0, description="latents of the spikes per frame")
    coupled: bool = Field(
        False, description="the data train the deep dynamics through the spikes' drive too, not through the rates alone"
    )
    stacked: bool = Field(False, description="deep encoders read the shallow encoder instead of the data")
    cell_dropout: float = Field(
        0.2, ge=0, lt=1, description="share of cells that training hides from the deep encoders, window by window"
    )
    tau: float | None = Field(None, gt=0, description="decay time constant, s (default: estimated from training data)")
    rise: float = Field(0.0, ge=0, description="rise time constant, s; 0 for none, i.e. AR(1)")
    gain: float | None = Field(None, gt=0, description="jump of fluorescence at one spike (default: estimated)")
    dye: Literal["linear", "hill"] = Field("linear", description="calcium to fluorescence: c, or cⁿ / (1 + γ cⁿ)")
    exponent: float = Field(2.0, gt=0, description="n of the Hill dye")
    saturation: float = Field(0.01, ge=0, description="γ of the Hill dye")
    initial_calcium: Literal["inferred", "zero"] = Field("inferred", description="calcium before the first frame")
    readout_scale: float = Field(0.1, gt=0, description="initial size of the spike read-out, over 1/√latent")
    warmup: int = Field(320, ge=0, description="steps in which the divergence of the spikes grows, then the deep one")
    freeze: int = Field(0, ge=0, description="steps for which the deep dynamics are not trained")
    capabilities: ClassVar = frozenset({"reconstruct", "latents", "cosmoothing", "spikes", "inputs", "uncertainty"})
