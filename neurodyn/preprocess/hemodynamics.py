"""Hemodynamic correction: what a calcium-insensitive reference explains, regressed out pixel by pixel."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from pydantic import Field
from scipy.signal import butter, sosfilt, sosfilt_zi

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import inside, noun, pieces, read, same_shape

LOGGER = logging.getLogger(__name__)

ORDER = 2


class HemodynamicsParams(Params):
    """Settings of the hemodynamic correction."""

    input: str = Field(default="fluorescence", description="calcium-dependent channel")
    reference: str = Field(default="reference", description="calcium-independent channel, at the same frame times")
    output: str = Field(default="corrected", description="variable to make")
    highpass: float | None = Field(
        default=None,
        gt=0,
        description="cut-off of a Butterworth high-pass used for estimating β only, Hz (default: none)",
    )


class Hemodynamics(Step):
    """Regress the reference channel out of the signal, pixel by pixel.

    With a = F/mean(F) - 1 and b = R/mean(R) - 1, both optionally high-passed, β = Σab / Σb² and
    F_corrected = mean(F) (1 + a - β b) = F - β mean(F)/mean(R) (R - mean(R)): β is dimensionless, and the corrected
    signal keeps the counts and the mean of F. The product β mean(F)/mean(R) is the slope Σ(F-mean)(R-mean)/Σ(R-mean)²,
    which is what is computed, so that channels without a positive mean work as well. The high-pass (order 2, forward
    in time, equal for both channels, so that their phases stay aligned) touches only the estimate. Where the reference does not vary β is 0.
    Median and interquartile range of β are attributes of the output.

    Source: Saxena et al., PLoS Comput Biol 16, e1007791 (2020); Ma et al., Phil Trans R Soc B 371, 20150360 (2016).
    """

    Params = HemodynamicsParams
    params: HemodynamicsParams
    citation = "Ma et al., Phil Trans R Soc B 371, 20150360 (2016), doi:10.1098/rstb.2015.0360"

    @property
    def requires(self) -> tuple[str, ...]:
        """Signal and reference."""
        return (self.params.input, self.params.reference)

    @property
    def provides(self) -> tuple[str, ...]:
        """The corrected signal."""
        return (self.params.output,)

    def apply(self, workspace: Workspace) -> None:
        """Take the means, then β, then write, one chunk at a time."""
        p = self.params
        same_shape(workspace, p.input, p.reference, "hemodynamics")
        sections = self._sections(workspace)
        for name in self.requires:
            scan(workspace, name, step="hemodynamics")
        signal, reference = workspace[p.input], workspace[p.reference]
        mask = inside(workspace, signal)
        means = [self._mean(workspace, name, part) for part, name in enumerate(self.requires)]
        slope = self._slope(workspace, means, sections)
        attrs = _summary(slope[mask], means[0][mask], means[1][mask])
        target = workspace.create(p.output, p.input, str(signal.attrs["units"]), "hemodynamics", **attrs)
        for key in pieces(workspace, signal, 3, 4):
            change = read(reference, key, mask) - means[1][key[1:]]
            target[key] = (read(signal, key, mask) - slope[key[1:]] * change).astype(np.float32)

    def _sections(self, workspace: Workspace) -> np.ndarray | None:
        """Return the high-pass as second-order sections, or None."""
        cutoff, rate = self.params.highpass, workspace.rate_hz
        if cutoff is None:
            return None
        if cutoff >= rate / 2:
            raise ConfigError(
                f"hemodynamics: a high-pass of {cutoff:g} Hz is not possible.",
                f"The rate is {rate:g} Hz, so it must lie below {rate / 2:g} Hz.",
                "Lower it: --set hemodynamics.highpass=0.1",
            )
        return np.asarray(butter(ORDER, cutoff, "highpass", fs=rate, output="sos"))

    def _mean(self, workspace: Workspace, name: str, part: int) -> np.ndarray:
        """Return the mean over time, shape (*space), 0 outside the brain."""
        array = workspace[name]
        mask = inside(workspace, array)
        total = np.zeros(mask.shape)
        for key in pieces(workspace, array, part, 4):
            total[key[1:]] += read(array, key, mask).sum(axis=0)
        return total / array.shape[0]

    def _slope(self, workspace: Workspace, means: list[np.ndarray], sections: np.ndarray | None) -> np.ndarray:
        """Return Σab/Σbb of the zero-mean, optionally high-passed channels, shape (*space)."""
        signal, reference = (workspace[name] for name in self.requires)
        mask = inside(workspace, signal)
        joint, power = np.zeros(mask.shape), np.zeros(mask.shape)
        state: list[Any] = [None, None]
        for key in pieces(workspace, signal, 2, 4):
            if key[0].start == 0:
                state = [None, None]
            a = read(signal, key, mask) - means[0][key[1:]]
            b = read(reference, key, mask) - means[1][key[1:]]
            if sections is not None:
                a, state[0] = _highpass(sections, a, state[0])
                b, state[1] = _highpass(sections, b, state[1])
            joint[key[1:]] += (a * b).sum(axis=0)
            power[key[1:]] += (b * b).sum(axis=0)
        noise = (np.finfo(np.float32).eps * np.abs(means[1])) ** 2 * signal.shape[0]
        still = mask & (power <= noise)
        if still.any():
            what = (still.sum(), mask.sum(), noun(signal))
            LOGGER.warning("hemodynamics: the reference does not vary in %d of %d %s; they stay uncorrected.", *what)
        return np.divide(joint, power, out=np.zeros(mask.shape), where=mask & ~still)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        band = f" (β estimated above {p.highpass:g} Hz)" if p.highpass else ""
        return (
            f"Hemodynamic signals were removed from '{p.input}' by regression on '{p.reference}' in each pixel{band}."
        )


def _highpass(sections: np.ndarray, values: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
    """Filter a block forward in time, going on from the state that the previous block left.

    Parameters
    ----------
    values
        Shape (time, *space).
    state
        None at the first block: the filter starts as if the first frame had lasted forever.
    """
    if state is None:
        start = sosfilt_zi(sections)
        state = start.reshape(*start.shape, *(1,) * (values.ndim - 1)) * values[:1]
    return sosfilt(sections, values, axis=0, zi=state)


def _summary(slope: np.ndarray, mean: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Return median and quartiles of the dimensionless β where both channels have a positive mean."""
    usable = (mean > 0) & (reference > 0)
    if not usable.any():
        return {}
    beta = slope[usable] * reference[usable] / mean[usable]
    low, middle, high = np.percentile(beta, [25, 50, 75])
    return {"beta_median": float(middle), "beta_iqr": float(high - low)}
