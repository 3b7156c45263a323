"""Hemodynamic correction: what a calcium-insensitive reference explains, regressed out pixel by pixel."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field

from neurodyn.data.recording import Recording
from neurodyn.preprocess.bands import Band, BandParams, Piece, check_band
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import inside, noun, same_shape

LOGGER = logging.getLogger(__name__)


class HemodynamicsParams(BandParams):
    """Settings of the hemodynamic correction."""

    input: str = Field(default="fluorescence", description="calcium-dependent channel")
    reference: str = Field(default="reference", description="calcium-independent channel, at the same frame times")
    output: str = Field(default="corrected", description="variable to make")
    keep_slow: bool = Field(
        default=True,
        description="use the band for estimating β only; false: the output stays inside the band, as in wfield",
    )


@dataclass(frozen=True)
class Sums:
    """Sums over time of products of two zero-mean channels, each shape (*space)."""

    signal: np.ndarray
    cross: np.ndarray
    reference: np.ndarray

    @classmethod
    def zeros(cls, shape: tuple[int, ...]) -> Sums:
        """Return empty sums."""
        return cls(*(np.zeros(shape) for _ in range(3)))

    def add(self, tile: tuple[slice, ...], signal: np.ndarray, reference: np.ndarray) -> None:
        """Take in two channels, each shape (time, *tile)."""
        for total, a, b in (
            (self.signal, signal, signal),
            (self.cross, signal, reference),
            (self.reference, reference, reference),
        ):
            total[tile] += np.einsum("t...,t...->...", a, b)

    def removed(self, slope: np.ndarray | float) -> np.ndarray:
        """Return the share of the signal's variance that signal - slope reference lacks, 0 where it is constant."""
        power = self.signal - 2 * slope * self.cross + slope**2 * self.reference
        return 1 - np.divide(power, self.signal, out=np.ones(power.shape), where=self.signal > 0)

    def correlation(self, slope: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the correlation of signal - slope reference with the reference, 0 where one is constant."""
        cross = self.cross - slope * self.reference
        power = self.signal - 2 * slope * self.cross + slope**2 * self.reference
        # what is left of a fully explained signal is rounding
        scale = np.where(power > 1e-12 * self.signal, power, 0) * self.reference
        return np.divide(cross, np.sqrt(scale), out=np.zeros(cross.shape), where=scale > 0)


class Hemodynamics(Step):
    """Regress the reference channel out of the signal, pixel by pixel.

    With a = F/mean(F) - 1 and b = R/mean(R) - 1, both optionally filtered, β = Σab / Σb² and
    F_corrected = mean(F) (1 + a - β b) = F - β mean(F)/mean(R) (R - mean(R)): β is dimensionless, and the corrected
    signal keeps the counts and the mean of F. The product β mean(F)/mean(R) is the slope Σ(F-mean)(R-mean)/Σ(R-mean)²,
    which is what is computed, so that channels without a positive mean work as well. The band touches only the
    estimate unless `keep_slow` is false: then the output is mean(F) (1 + a_band - β b_band). Where the reference does
    not vary β is 0. Median and interquartile range of β are attributes of the output; maps of β and of the
    correlation between the channels before and after are in `qc`.

    Conventions: the chains widefield (no filter), widefield-wfield (zero-phase high-pass of 0.1 Hz, low-pass of 14 Hz
    on the reference, output high-passed) and widefield-imager (0.1 to 5 Hz).

    Source: Saxena et al., PLoS Comput Biol 16, e1007791 (2020); Ma et al., Phil Trans R Soc B 371, 20150360 (2016).
    """

    Params = HemodynamicsParams
    params: HemodynamicsParams
    citation = "Ma et al., Phil Trans R Soc B 371, 20150360 (2016), doi:10.1098/rstb.2015.0360"
    passes = 2

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Refuse a band that the recording's rate or length rules out."""
        check_band(self.params, recording, "hemodynamics")
        return self, ""

    def apply(self, workspace: Workspace) -> None:
        """Gather the sums that give β, then write, one chunk at a time; the means are known from the first look."""
        p, names = self.params, (self.params.input, self.params.reference)
        same_shape(workspace, *names, "hemodynamics")
        band = Band(p, workspace.rate_hz, "hemodynamics")
        mask = inside(workspace, workspace[p.input])
        means = [np.where(mask, scan(workspace, name, step="hemodynamics").mean, 0) for name in names]
        plain, banded = Sums.zeros(mask.shape), Sums.zeros(mask.shape)
        for piece in band.pieces(workspace, names, means, 0, 2):
            plain.add(piece.key[1:], piece.signal, piece.reference)
            if not band.open:
                banded.add(piece.key[1:], piece.signal_band, piece.reference_band)
            del piece
        banded = plain if band.open else banded
        slope = self._slope(workspace, banded, means[1])
        self._keep(workspace, plain if p.keep_slow else banded, plain, slope, means)
        self._write(workspace, band, slope, means)

    def _write(self, workspace: Workspace, band: Band, slope: np.ndarray, means: list[np.ndarray]) -> None:
        p, signal = self.params, workspace[self.params.input]
        mask = inside(workspace, signal)
        attrs = _summary(slope[mask], means[0][mask], means[1][mask])
        target = workspace.create(p.output, p.input, str(signal.attrs["units"]), "hemodynamics", **attrs)
        writing = Band(BandParams(), workspace.rate_hz, "hemodynamics") if p.keep_slow else band
        for piece in writing.pieces(workspace, (p.input, p.reference), means, 1, 2):
            target[piece.key] = _corrected(piece, slope[piece.key[1:]], means[0][piece.key[1:]])
            del piece

    def _slope(self, workspace: Workspace, sums: Sums, mean: np.ndarray) -> np.ndarray:
        """Return Σab/Σbb of the zero-mean, optionally filtered channels, shape (*space)."""
        signal = workspace[self.params.input]
        mask = inside(workspace, signal)
        noise = (np.finfo(np.float32).eps * np.abs(mean)) ** 2 * signal.shape[0]
        still = mask & (sums.reference <= noise)
        if still.any():
            what = (still.sum(), mask.sum(), noun(signal))
            LOGGER.warning("hemodynamics: the reference does not vary in %d of %d %s; they stay uncorrected.", *what)
        return np.divide(sums.cross, sums.reference, out=np.zeros(mask.shape), where=mask & ~still)

    def _keep(
        self, workspace: Workspace, written: Sums, plain: Sums, slope: np.ndarray, means: list[np.ndarray]
    ) -> None:
        """Put the maps of β and of the correlation before and after beside the movies."""
        usable = (means[0] > 0) & (means[1] > 0)
        beta = np.divide(slope * means[1], means[0], out=slope.copy(), where=usable)
        maps = {
            "beta": beta,
            "correlation_before": plain.correlation(),
            "correlation_after": written.correlation(slope),
            "variance_removed": written.removed(slope),
        }
        dims = ("roi",) if slope.ndim == 1 else ("y", "x")
        for what, values in maps.items():
            name = map_name("hemodynamics", what, self.params.output)
            workspace.keep("qc", name, dims, values.astype(np.float32), "1")

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        return (
            f"Hemodynamic signals were removed from '{p.input}' by regression on '{p.reference}' in each "
            f"pixel{band_words(p, p.keep_slow)}."
        )


def _corrected(piece: Piece, slope: np.ndarray, mean: np.ndarray) -> np.ndarray:
    values = slope * piece.reference_band
    np.subtract(piece.signal_band, values, out=values)
    values += mean
    return values.astype(np.float32)


def map_name(step: str, what: str, output: str, usual: str = "corrected") -> str:
    """Return the name of a map in `qc`: a second correction in one recording names its output as well."""
    return f"{step}_{what}" if output == usual else f"{step}_{what}_{output}"


def band_words(p: BandParams, keep_slow: bool) -> str:
    """Return what the band was and what it touched, in brackets, or nothing."""
    parts = [] if p.highpass is None else [f"high-pass {p.highpass:g} Hz"]
    if p.lowpass is not None:
        channels = "" if p.lowpass_both else " of the reference"
        parts.append(f"low-pass {p.lowpass:g} Hz{channels}")
    if not parts:
        return ""
    used = "for the estimate only" if keep_slow else "kept in the output"
    return f" (Butterworth {', '.join(parts)}, {p.phase} phase, {used})"


def _summary(slope: np.ndarray, mean: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Return median and quartiles of the dimensionless β where both channels have a positive mean."""
    usable = (mean > 0) & (reference > 0)
    if not usable.any():
        return {}
    beta = slope[usable] * reference[usable] / mean[usable]
    low, middle, high = np.percentile(beta, [25, 50, 75])
    return {"beta_median": float(middle), "beta_iqr": float(high - low)}
