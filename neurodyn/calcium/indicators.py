"""How fast calcium indicators rise and fall: published kinetics, and the decay times recommended for deconvolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurodyn.core.errors import ConfigError


@dataclass(frozen=True)
class Kinetics:
    """One indicator's response to a single action potential, and the decay time to deconvolve with.

    A half-decay time t½ and an exponential's time constant τ differ: τ = t½ / ln 2.

    Parameters
    ----------
    tau
        Decay time constant for deconvolution, s. It is longer than the single spike's where bursts and buffering draw
        the decay out.
    half_decay
        Half-decay time of the response to a single spike, s.
    peak
        Time from spike to peak, s.
    source
        Where the numbers are from.
    """

    tau: float
    half_decay: float
    peak: float
    source: str

    @property
    def tau_single(self) -> float:
        """Decay time constant of the response to a single spike, s: t½ / ln 2."""
        return self.half_decay / math.log(2)

    @property
    def tau_range(self) -> tuple[float, float]:
        """Shortest and longest decay time constant that is on record, s."""
        return min(self.tau_single, self.tau), max(self.tau_single, self.tau)


CHEN = "kinetics in mouse V1: Chen et al., Nature 499, 295 (2013)"
SUITE2P = "tau: suite2p documentation"
ZHANG = "kinetics of one spike in cultured neurons: Zhang et al., Nature 615, 884 (2023), as tabulated by Janelia"
DANA7 = "kinetics in cultured neurons: Dana et al., Nat Methods 16, 649 (2019)"

KINETICS = {
    "gcamp5k": Kinetics(
        1.0, 0.27, 0.10, "kinetics: Akerboom et al., J Neurosci 32, 13819 (2012); tau: suite2p default"
    ),
    "gcamp6f": Kinetics(0.7, 0.142, 0.045, f"{CHEN}; {SUITE2P}"),
    "gcamp6m": Kinetics(1.0, 0.27, 0.08, f"{CHEN}; {SUITE2P}"),
    "gcamp6s": Kinetics(1.25, 0.55, 0.179, f"{CHEN}; {SUITE2P} (1.25 to 1.5 s)"),
    "jgcamp7f": Kinetics(0.7, 0.182, 0.0995, f"{ZHANG} (its control); tau: as GCaMP6f"),
    "jgcamp7s": Kinetics(1.25, 0.69, 0.15, f"{DANA7}; tau: as GCaMP6s"),
    "jgcamp8f": Kinetics(0.10, 0.0674, 0.0248, f"{ZHANG}; tau: half-decay / ln 2"),
    "jgcamp8m": Kinetics(0.25, 0.1183, 0.029, f"{ZHANG}; tau: suite2p issue 1120"),
    "jgcamp8s": Kinetics(0.44, 0.3067, 0.057, f"{ZHANG}; tau: half-decay / ln 2"),
    "jrgeco1a": Kinetics(0.7, 0.30, 0.06, "kinetics: Dana et al., eLife 5, e12727 (2016); tau: suite2p issue 233"),
    "rcamp": Kinetics(
        0.75,
        0.15,
        0.07,
        "R-CaMP1.07 in four cells of mouse CA3: single spikes, half-decay 0.10 to 0.20 s, peak 0.05 to 0.10 s; tau: least "
        "squares from the recorded spikes, 0.5 to 2.0 s; data: Rupprecht et al., Nat Neurosci 24, 1324 (2021)",
    ),
    "ogb1": Kinetics(0.78, 0.54, 0.02, "slow decay and onset: Grewe et al., Nat Methods 7, 399 (2010)"),
    "cal520": Kinetics(0.78, 0.54, 0.03, "decay close to OGB-1: Tada et al., Eur J Neurosci 39, 1720 (2014)"),
}
ALIASES = {
    "jgeco1a": "jrgeco1a",
    "rcamp1.07": "rcamp",
    "gcamp7f": "jgcamp7f",
    "gcamp7s": "jgcamp7s",
    "gcamp5": "gcamp5k",
} | {f"gcamp8{kind}": f"jgcamp8{kind}" for kind in "fms"}


def known(name: str) -> str | None:
    """Return the name under which an indicator is on record, or None; "OGB-1 AM" and "GCaMP6f (simulated)" are known."""
    short = name.lower().split(" ")[0].replace("-", "")
    short = ALIASES.get(short, short)
    return short if short in KINETICS else None


def kinetics(name: str) -> Kinetics:
    """Look an indicator up.

    Raises
    ------
    ConfigError
        If it is not on record; the message lists those that are.
    """
    key = known(name)
    if key is None:
        raise ConfigError(
            f"deconvolution: no kinetics are on record for the indicator '{name}'.",
            f"On record, with their decay times: {', '.join(f'{k} {v.tau:g} s' for k, v in KINETICS.items())}.",
            "Give them in seconds (--set deconvolution.tau=0.7 --set deconvolution.rise=0), or --set deconvolution.tau=estimate",
        )
    return KINETICS[key]


def onset_constant(peak: float, tau: float) -> float:
    """Return the onset time constant τ_on, s, of (1 - exp(-t/τ_on)) exp(-t/τ), which peaks at τ_on ln(1 + τ/τ_on).

    Parameters
    ----------
    peak
        Time from spike to peak, s, less than `tau`; 0 is an instantaneous rise.
    tau
        Decay time constant, s.
    """
    if peak == 0:
        return 0.0
    from scipy.optimize import brentq  # a second to import, and most recordings need no root

    return float(brentq(lambda on: on * math.log1p(tau / on) - peak, 1e-9 * tau, 1e3 * tau))  # type: ignore[arg-type]


def rise_delay(peak: float, tau: float) -> float:
    """Return by how much, s, deconvolution with a pure decay dates the events of such a response too late, on average.

    The response is the decay exp(-t/τ) driven by an exponential course of rate 1/τ_on + 1/τ, whose mean is
    τ_on τ / (τ_on + τ).
    """
    onset = onset_constant(peak, tau)
    return onset * tau / (onset + tau)
