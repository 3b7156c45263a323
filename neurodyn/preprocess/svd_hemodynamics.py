"""Hemodynamic correction in the space of singular vectors: a regression of every pixel, without the corrected movie."""

from __future__ import annotations

import logging
from typing import Self

import numpy as np
from pydantic import Field

from neurodyn.data.recording import Recording
from neurodyn.preprocess.bands import Band, BandParams, check_band
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.hemodynamics import HemodynamicsParams, band_words, map_name
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.svd import Basis, RelativeMovie, find_basis, project
from neurodyn.preprocess.tiles import inside, require_light, same_shape

LOGGER = logging.getLogger(__name__)

STEP = "svd_hemodynamics"
COURSES = (f"{STEP}_signal", f"{STEP}_reference")


class SvdHemodynamicsParams(HemodynamicsParams):
    """Settings of the correction of singular vectors."""

    output: str = Field(default="components", description="variable to make: corrected time courses of the components")
    components: int = Field(default=200, ge=1, description="number of components, common to both channels")
    bin: int = Field(default=15, ge=1, description="frames averaged before the components are found; 1 is exact")


class SvdHemodynamics(Step):
    """Regress the reference out of the signal in the space of their common singular vectors.

    With a = F/mean(F) - 1 ≈ V₁ Uᵀ and b = R/mean(R) - 1 ≈ V₂ Uᵀ in one orthonormal basis U (pixel, component), and the
    band's V̂₁ and V̂₂: β_p = u_p V̂₁ᵀV̂₂ u_pᵀ / u_p V̂₂ᵀV̂₂ u_pᵀ for the row u_p of each pixel, and
    V_corrected = V₁ - V₂ Uᵀ diag(β) U. With all components this is the regression of single pixels. The output is
    V_corrected in ΔF/F times the root of a number of pixels; U is in `components`, β in `qc`.

    Source: Saxena et al., PLoS Comput Biol 16, e1007791 (2020).
    """

    Params = SvdHemodynamicsParams
    params: SvdHemodynamicsParams
    kinds = frozenset({"movie"})
    makes = "traces"
    citation = "Saxena et al., PLoS Comput Biol 16, e1007791 (2020), doi:10.1371/journal.pcbi.1007791"
    passes = 2

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Refuse a band that the recording's rate or length rules out."""
        check_band(self.params, recording, STEP)
        return self, ""

    def apply(self, workspace: Workspace) -> None:
        """Find the common components, project both channels on them, regress, and write the corrected courses."""
        p = self.params
        same_shape(workspace, p.input, p.reference, STEP)
        band = Band(p, workspace.rate_hz, STEP)
        mask = inside(workspace, workspace[p.input])
        channels = [self._channel(workspace, name, mask) for name in self.requires]
        basis = find_basis(workspace, channels, mask, p.components, p.bin, parts=2)
        shape = (workspace.time.size, basis.count)
        for part, (name, channel) in enumerate(zip(COURSES, channels, strict=True)):
            courses = workspace.create_shaped(name, shape, ("time", "component"), "ΔF/F", STEP)
            project(workspace, channel, basis, courses, 2 + part, 4)
        try:
            beta = self._beta(workspace, band, basis)
            self._write(workspace, band, basis, beta)
        finally:
            for name in COURSES:
                del workspace.root[f"neural/{name}"]
        basis.keep(workspace, p.output, "1")
        workspace.keep("qc", map_name(STEP, "beta", p.output, "components"), ("y", "x"), beta.astype(np.float32), "1")

    def _channel(self, workspace: Workspace, name: str, mask: np.ndarray) -> RelativeMovie:
        mean = np.where(mask, scan(workspace, name, step=STEP).mean, 1.0)
        require_light(workspace, name, mean, STEP, "regress the pixels as they are: --chain widefield")
        return RelativeMovie(workspace[name], mean, mean)

    def _beta(self, workspace: Workspace, band: Band, basis: Basis) -> np.ndarray:
        """Return β of each pixel, 0 where the reference does not vary, shape (y, x)."""
        cross, power = np.zeros((2, basis.count, basis.count))
        for piece in band.pieces(workspace, COURSES, [np.zeros(basis.count)] * 2, 2, 4, whole=True):
            cross += piece.signal_band.T @ piece.reference_band
            power += piece.reference_band.T @ piece.reference_band
        rows = basis.maps[basis.mask]
        joint, own = (((rows @ matrix) * rows).sum(axis=1) for matrix in (cross, power))
        still = own <= np.finfo(np.float32).eps ** 2 * workspace.time.size
        if still.any():
            LOGGER.warning("%s: the reference does not vary in %d of %d pixels.", STEP, still.sum(), still.size)
        beta = np.zeros(basis.mask.shape)
        beta[basis.mask] = np.divide(joint, own, out=np.zeros(own.size), where=~still)
        return beta

    def _write(self, workspace: Workspace, band: Band, basis: Basis, beta: np.ndarray) -> None:
        """Write V₁ - V₂ Uᵀ diag(β) U."""
        p, rows, inner = self.params, basis.maps[basis.mask], beta[basis.mask]
        transform = rows.T @ (inner[:, None] * rows)
        low, middle, high = np.percentile(inner, [25, 50, 75])
        shape, attrs = (workspace.time.size, basis.count), {"beta_median": middle, "beta_iqr": high - low}
        attrs = {name: float(value) for name, value in attrs.items()}
        target = workspace.create_shaped(p.output, shape, ("time", "component"), "ΔF/F", STEP, **attrs)
        writing = Band(BandParams(), workspace.rate_hz, STEP) if p.keep_slow else band
        for piece in writing.pieces(workspace, COURSES, [np.zeros(basis.count)] * 2, 3, 4, whole=True):
            target[piece.key[0]] = (piece.signal_band - piece.reference_band @ transform).astype(np.float32)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        return (
            f"Hemodynamic signals were removed from '{p.input}' by regression on '{p.reference}' in the space of their "
            f"{p.components} common singular vectors{band_words(p, p.keep_slow)}."
        )
