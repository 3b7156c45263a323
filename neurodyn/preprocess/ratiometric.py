"""Hemodynamic correction with fixed weights: difference, ratio, and the Beer-Lambert product of powers."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import inside, pieces, require_light, same_shape


class RatiometricParams(Params):
    """Settings of the correction with fixed weights."""

    input: str = Field(default="fluorescence", description="calcium-dependent channel")
    references: tuple[str, ...] = Field(
        default=("reference",),
        min_length=1,
        description="calcium-independent channels: one isosbestic channel, or reflectance at two wavelengths",
    )
    exponents: tuple[float, ...] = Field(
        default=(1.0,),
        min_length=1,
        description="weight of each reference; for reflectance they follow from extinction coefficients and path "
        "lengths at the excitation and emission wavelengths of your microscope",
    )
    form: Literal["power", "difference"] = Field(
        default="power",
        description="power: F/F0 divided by each (R/R0)^exponent (Beer-Lambert; the ratio when the exponent is 1); "
        "difference: its first order, ΔF/F less the weighted ΔR/R",
    )
    output: str = Field(default="corrected", description="variable to make")

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.references) != len(self.exponents):
            raise ValueError("give one exponent for each reference")
        return self


class Ratiometric(Step):
    """Divide the signal by what its references say was absorbed, with weights known beforehand.

    Light is absorbed exponentially, so that ln(F/F0) = ln(Ca) + Σ_i a_i ln(R_i/R_i0) and
    F_corrected = F0 (F/F0) Π_i (R_i/R_i0)^(-a_i) ("power"), to first order F0 (1 + ΔF/F - Σ_i a_i ΔR_i/R_i0)
    ("difference"); F0 and R0 are means over time. Nothing is fitted: with an isosbestic reference a = 1 assumes equal
    absorption in both channels; where that does not hold the regressions serve better. Pixels outside the brain
    become 0.

    Source: Ma et al., Phil Trans R Soc B 371, 20150360 (2016); Wekselblatt et al., J Neurophysiol 115, 2852 (2016).
    """

    Params = RatiometricParams
    params: RatiometricParams
    citation = "Ma et al., Phil Trans R Soc B 371, 20150360 (2016), doi:10.1098/rstb.2015.0360"
    passes = 1

    @property
    def requires(self) -> tuple[str, ...]:
        """Signal and references."""
        return (self.params.input, *self.params.references)

    def apply(self, workspace: Workspace) -> None:
        """Correct chunk by chunk; the means are known from the first look."""
        p, signal = self.params, workspace[self.params.input]
        for name in p.references:
            same_shape(workspace, p.input, name, "ratiometric")
        means = {name: self._mean(workspace, name) for name in self.requires}
        mask = inside(workspace, signal)
        target = workspace.create(p.output, p.input, str(signal.attrs["units"]), "ratiometric", form=p.form)
        for key in pieces(workspace, signal):
            inner = mask[key[1:]]
            made = np.zeros((key[0].stop - key[0].start, *inner.shape), dtype=np.float32)
            made[:, inner] = self._piece(workspace, key, inner, means)
            target[key] = made

    def _mean(self, workspace: Workspace, name: str) -> np.ndarray:
        mean = scan(workspace, name, step="ratiometric").mean
        require_light(workspace, name, mean, "ratiometric", "regress instead: --chain widefield")
        return mean

    def _piece(
        self, workspace: Workspace, key: tuple[slice, ...], inner: np.ndarray, means: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Return the corrected signal of some entries, shape (time, entry)."""
        p = self.params
        relative = {
            name: np.asarray(workspace[name][key])[:, inner].astype(np.float64) / mean[key[1:]][inner]
            for name, mean in means.items()
        }
        made, weights = relative[p.input], dict(zip(p.references, p.exponents, strict=True))
        for name, weight in weights.items():
            if p.form == "difference":
                made = made - weight * (relative[name] - 1)
                continue
            if (relative[name] <= 0).any():
                frame = key[0].start + int(np.argmax((relative[name] <= 0).any(axis=1)))
                raise DataError(
                    f"ratiometric: '{name}' is 0 or less at frame {frame} ({workspace.time[frame]:g} s).",
                    "The logarithm of a reflectance needs counts above the dark level.",
                    "Mend or mask it, or take the first order: --set ratiometric.form=difference",
                )
            made = made * relative[name] ** -weight
        return made * means[p.input][key[1:]][inner]

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        pairs = ", ".join(f"'{name}' ({weight:g})" for name, weight in zip(p.references, p.exponents, strict=True))
        how = "division by powers" if p.form == "power" else "subtraction"
        return f"Hemodynamic signals were removed from '{p.input}' by {how} of {pairs}."
