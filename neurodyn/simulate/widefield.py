"""Two-channel widefield sessions with gratings of several contrasts: calcium, hemodynamics and shot noise known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.signals import blob, box_response, calcium, pink, smooth_field, unit_grid

AREAS = {  # centre (y, x) as shares of the frame, gain relative to V1, delay in s
    "V1": ((0.72, 0.27), 1.0, 0.0),
    "LM": ((0.68, 0.15), 0.45, 0.06),
    "AL": ((0.58, 0.18), 0.40, 0.10),
    "RL": ((0.56, 0.26), 0.35, 0.10),
    "PM": ((0.72, 0.39), 0.40, 0.08),
    "AM": ((0.59, 0.36), 0.30, 0.14),
}
CHUNK = 1000


class WidefieldParams(Params):
    """What is imaged, shown and planted."""

    trials: int = Field(default=180, ge=1, description="number of gratings")
    height: int = Field(default=40, ge=8, description="frame height, pixels")
    width: int = Field(default=40, ge=8, description="frame width, pixels")
    rate_hz: float = Field(default=10.0, gt=0, description="frames per second and channel, Hz")
    on: float = Field(default=2.0, gt=0, description="duration of a grating, s")
    off: float = Field(default=5.0, gt=0, description="blank time per trial, half before and half after the grating, s")
    contrasts: tuple[float, ...] = Field(
        default=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        min_length=1,
        description="contrasts shown equally often, fraction 0..1",
    )
    peak: float = Field(default=0.10, ge=0, description="saturating V1 response, ΔF/F")
    c50: float = Field(default=0.2, gt=0, description="contrast of the half-maximal response, fraction 0..1")
    exponent: float = Field(default=1.5, gt=0, description="Naka-Rushton exponent")
    gain_sd: float = Field(default=0.25, ge=0, description="standard deviation of the response gain over trials")
    rise: float = Field(default=0.1, gt=0, description="rise time constant of the indicator, s")
    decay: float = Field(default=0.5, gt=0, description="decay time constant of the indicator, s")
    spontaneous: float = Field(
        default=0.015, ge=0, description="root mean square of spontaneous activity in the brain, ΔF/F"
    )
    ongoing: float = Field(
        default=0.0,
        ge=0,
        description="root mean square of each visual area's own spontaneous activity at its centre, ΔF/F",
    )
    modes: int = Field(default=10, ge=2, multiple_of=2, description="rank of spontaneous activity")
    hemodynamics: float = Field(
        default=0.02, ge=0, description="root mean square of hemodynamics in the brain, fraction of F"
    )
    baseline: float = Field(default=8000.0, gt=0, le=30000, description="mean baseline in the brain, counts above dark")
    dark: int = Field(default=100, ge=0, le=1000, description="dark level of the camera, counts")
    shot_noise: float = Field(
        default=0.03, ge=0, le=0.5, description="shot noise of one mean pixel in one frame, fraction of F"
    )
    bleach: float = Field(default=0.10, ge=0, lt=1, description="fluorescence lost to bleaching by the end, fraction")
    seed: int = Field(default=0, ge=0, description="seed of every draw")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rise >= self.decay:
            raise ValueError("rise must be shorter than decay")
        if min(self.contrasts) < 0 or max(self.contrasts) > 1:
            raise ValueError("contrasts are fractions from 0 to 1")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width

    @property
    def frames(self) -> int:
        """Frames per channel."""
        return round(self.trials * (self.on + self.off) * self.rate_hz)


def naka_rushton(contrast: np.ndarray, peak: float, c50: float, exponent: float) -> np.ndarray:
    """Return the contrast response R(c) = peak c^n / (c^n + c50^n) (Naka & Rushton 1966), shape of `contrast`."""
    return peak * contrast**exponent / (contrast**exponent + c50**exponent)


@dataclass(frozen=True)
class Factors:
    """A movie as a product: time courses, shape (time, component), and maps, shape (component, y, x)."""

    courses: np.ndarray
    maps: np.ndarray

    def movie(self, frames: slice = slice(None)) -> np.ndarray:
        """Return some frames, shape (time, y, x)."""
        return np.tensordot(self.courses[frames], self.maps, axes=1)

    def scaled(self, rms: float, brain: np.ndarray) -> Factors:
        """Return the same movie with another root mean square over time and the brain's pixels; zero stays zero."""
        inside = self.maps[:, brain]
        second = self.courses.T @ self.courses / len(self.courses)
        power = np.einsum("jp,jk,kp->", inside, second, inside) / brain.sum()
        return Factors(self.courses * (rms / np.sqrt(power) if power > 0 else 0.0), self.maps)


class Widefield(Simulator):
    """Widefield calcium and isosbestic reference movies of a dorsal cortex that sees gratings.

    Expected counts of channel k are dark + F_k(p) b_k(t) (1 + dff(t, p))^[k is fluorescence] (1 + g_k(p) h(t, p)):
    baseline map F, bleaching b, calcium dff, hemodynamics h with a gain map g per channel; camera counts add Poisson
    shot noise. dff is a Naka-Rushton response of left V1 and, later and weaker, of higher areas, on top of travelling
    waves of low rank with 1/f spectrum and, where asked for, of each visual area's own spontaneous activity. h is the negative, blurred and delayed trace of dff, plus vasomotion near
    0.1 Hz and an (aliased) heartbeat. Every factor is in `truth`.
    """

    Params = WidefieldParams
    params: WidefieldParams
    name: ClassVar[str] = "widefield"

    def make(self) -> Recording:
        """Return the recording; `truth` has dff, hemodynamics, gains, baselines, bleaching and trial amplitudes."""
        p = self.params
        rngs = np.random.default_rng(p.seed).spawn(6)
        trial_rng, wave_rng, vessel_rng, tissue_rng, photon_rng, area_rng = rngs
        time = np.arange(p.frames) / p.rate_hz
        brain = oval(p.shape)
        stimulus, trials = gratings(p, trial_rng)
        evoked = _evoked(p, time, stimulus["start"], trials["amplitude"], brain)
        areas = Factors(evoked.courses + _ongoing(p, area_rng), evoked.maps)
        waves = _waves(p, brain, wave_rng)
        neural = Factors(np.hstack([areas.courses, waves.courses]), np.concatenate([areas.maps, waves.maps]))
        blood = _hemodynamics(p, time, neural, brain, vessel_rng)
        tissue = _tissue(p, time, brain, tissue_rng)
        fluorescence, reference, dff = _expose(p, neural, blood, tissue, brain, photon_rng)
        return Recording.from_arrays(
            {"fluorescence": fluorescence, "reference": reference},
            rate_hz=p.rate_hz,
            time=time,
            session=f"{self.name}-{p.seed}",
            indicator="jRCaMP1b (simulated)",
            stimulus=stimulus,
            truth=_truth(dff, blood, tissue, trials, evoked.maps).assign_coords(time=time),
            brain=brain,
            history=[entry(f"simulate {self.name}", p.model_dump(mode="json"))],
        )


class AwakeWidefieldParams(WidefieldParams):
    """What is imaged, shown and planted."""

    peak: float = Field(default=0.06, ge=0, description="saturating V1 response, ΔF/F")
    ongoing: float = Field(
        default=0.01,
        ge=0,
        description="root mean square of each visual area's own spontaneous activity at its centre, ΔF/F",
    )
    modes: int = Field(default=20, ge=2, multiple_of=2, description="rank of the travelling waves")
    shot_noise: float = Field(
        default=0.01, ge=0, le=0.5, description="shot noise of one mean pixel in one frame, fraction of F"
    )


class AwakeWidefield(Widefield):
    """Widefield movies in which contrast is hard to read, because spontaneous activity has the shape of responses.

    `widefield` with other sizes; in the defaults of `widefield` the noise-free movie gives the contrast away, since
    no spontaneous activity lies in the direction of the responses. These sizes were fixed before any model saw them:

    - spontaneous activity: single responses ride on ongoing activity about as large as themselves (Arieli et al.,
      Science 273, 1868 (1996)). Here it is 1 % ΔF/F in each area, half of its variance shared, and 1.5 % in waves over
      all of cortex: together about the response to a contrast of 10 %.
    - response: 6 % ΔF/F at full contrast, between the few percent of red indicators seen through the skull and the
      10 % of `widefield`; c50 0.2 and exponent 1.5 are the usual ones of mouse V1.
    - gain: a standard deviation of 25 % over trials (compare Goris et al., Nat Neurosci 17, 858 (2014)).
    - shot noise: 1 %, that is 10⁴ photoelectrons per pixel and frame; in the movie of a red indicator by Deng et al.
      (Nat Methods 21, 692 (2024)) pixels of 18 to 54 µm have 0.34 % of fast noise, and dimmer tissue has more.
    - 2 s on, 5 s off: with blanks as contrast 0 the label 2 √contrast - 1 has variance 0.283 over all frames; the
      published table of contrast decoding implies 0.274 to 0.286. Decode it with `--target contrast --set transform=sqrt`.
    """

    Params = AwakeWidefieldParams
    params: AwakeWidefieldParams
    name: ClassVar[str] = "widefield_awake"


def oval(shape: tuple[int, int]) -> np.ndarray:
    """Return the mask of the dorsal cortex, bool, shape (y, x)."""
    y, x = unit_grid(shape)
    return ((y - 0.5) / 0.47) ** 2 + ((x - 0.5) / 0.45) ** 2 < 1


def gratings(p: WidefieldParams, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draw the stimulus table, and gain and V1 amplitude (ΔF/F) of each trial, all shape (event,)."""
    contrast = rng.permutation(np.resize(p.contrasts, p.trials))
    start = np.arange(p.trials) * (p.on + p.off) + p.off / 2
    orientation = rng.choice([0.0, 45.0, 90.0, 135.0], p.trials)
    gain = np.maximum(0.0, 1 + p.gain_sd * rng.standard_normal(p.trials))
    amplitude = gain * naka_rushton(contrast, p.peak, p.c50, p.exponent)
    stimulus = {"start": start, "stop": start + p.on, "contrast": contrast, "orientation": orientation}
    return stimulus, {"gain": gain, "amplitude": amplitude}


def _evoked(
    p: WidefieldParams, time: np.ndarray, start: np.ndarray, amplitude: np.ndarray, brain: np.ndarray
) -> Factors:
    courses = np.zeros((time.size, len(AREAS)))
    for column, (_, gain, delay) in enumerate(AREAS.values()):
        for onset, height in zip(start + delay, amplitude, strict=True):
            first, last = np.searchsorted(time, [onset, onset + p.on + 12 * p.decay])
            response = box_response(time[first:last] - onset, p.on, p.rise, p.decay)
            courses[first:last, column] += gain * height * response
    maps = np.stack([blob(p.shape, centre, 0.09 if name == "V1" else 0.045) for name, (centre, _, _) in AREAS.items()])
    return Factors(courses, maps * brain)


def _ongoing(p: WidefieldParams, rng: np.random.Generator) -> np.ndarray:
    """Return each area's own spontaneous course, half of its variance shared by all areas, ΔF/F, shape (time, area)."""
    activity = np.real(pink(p.frames, 1 + len(AREAS), rng))
    courses = calcium(activity[:, :1] + activity[:, 1:], p.rate_hz, p.rise, p.decay)
    courses -= courses.mean(axis=0)
    return courses * (p.ongoing / courses.std(axis=0))


def _waves(p: WidefieldParams, brain: np.ndarray, rng: np.random.Generator) -> Factors:
    """Plane waves under smooth envelopes; an analytic time course makes each travel one way."""
    y, x = unit_grid(p.shape)
    pairs = p.modes // 2
    signal = pink(p.frames, pairs, rng)
    angle, length = rng.uniform(0, 2 * np.pi, pairs), rng.uniform(0.6, 1.6, pairs)
    maps = []
    for k in range(pairs):
        phase = 2 * np.pi / length[k] * (np.cos(angle[k]) * y + np.sin(angle[k]) * x)
        envelope = blob(p.shape, tuple(rng.uniform(0.25, 0.75, 2)), 0.3) * brain
        maps += [envelope * np.cos(phase), envelope * np.sin(phase)]
    activity = np.stack([np.real(signal), np.imag(signal)], axis=2).reshape(p.frames, -1)
    courses = calcium(activity, p.rate_hz, p.rise, p.decay)
    return Factors(courses - courses.mean(axis=0), np.stack(maps)).scaled(p.spontaneous, brain)


def _hemodynamics(
    p: WidefieldParams, time: np.ndarray, neural: Factors, brain: np.ndarray, rng: np.random.Generator
) -> Factors:
    kernel_time = np.arange(0, 6, 1 / p.rate_hz)
    kernel = (kernel_time / 0.6) ** 2 * np.exp(-kernel_time / 0.6)  # peak 1.2 s after the activity
    coupled = np.asarray(lfilter(kernel / kernel.sum(), [1.0], -neural.courses, axis=0))
    blurred = np.stack([gaussian_filter(m, 0.04 * max(p.shape)) for m in neural.maps]) * brain
    flow = Factors(coupled - coupled.mean(axis=0), blurred).scaled(0.7, brain)
    drift = np.cumsum(rng.standard_normal((time.size, 2)), axis=0) * np.sqrt(np.array([0.002, 0.05]) / p.rate_hz)
    waves = np.cos(2 * np.pi * np.array([0.1, 11.3]) * time[:, None] + 2 * np.pi * drift)
    maps = np.stack([1 + 0.5 * smooth_field(p.shape, 0.12, rng), 1 + 0.5 * smooth_field(p.shape, 0.05, rng)]) * brain
    vasomotion = Factors(waves[:, :1], maps[:1]).scaled(0.6, brain)
    heart = Factors(waves[:, 1:], maps[1:]).scaled(0.4, brain)
    parts = (flow, vasomotion, heart)
    whole = Factors(np.hstack([f.courses for f in parts]), np.concatenate([f.maps for f in parts]))
    return whole.scaled(p.hemodynamics, brain)


def _tissue(p: WidefieldParams, time: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return baseline (counts) and hemodynamic gain maps, shape (y, x), and bleaching, shape (time,), per channel."""
    y, x = unit_grid(p.shape)
    light = np.exp(-((y - 0.5) ** 2 + (x - 0.5) ** 2) / (2 * 0.55**2))
    span = time[-1] if time.size > 1 else 1.0
    fade = (1 - np.exp(-3 * time / span)) / (1 - np.exp(-3))
    tissue = {}
    for channel, level, gain, loss in (("fluorescence", 1.0, 1.0, 1.0), ("reference", 0.8, 0.8, 0.7)):
        stain = light * np.exp(0.12 * smooth_field(p.shape, 0.08, rng)) * brain
        tissue[f"baseline_{channel}"] = level * p.baseline * stain / stain[brain].mean()
        tissue[f"gain_{channel}"] = gain * np.exp(0.2 * smooth_field(p.shape, 0.12, rng)) * brain
        tissue[f"bleaching_{channel}"] = 1 - loss * p.bleach * fade
    return tissue


def _expose(
    p: WidefieldParams,
    neural: Factors,
    blood: Factors,
    tissue: dict[str, np.ndarray],
    brain: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return fluorescence and reference in counts (uint16) and dff (float32), each shape (time, y, x)."""
    shape = (p.frames, *p.shape)
    counts = {name: np.empty(shape, np.uint16) for name in ("fluorescence", "reference")}
    dff = np.empty(shape, np.float32)
    for begin in range(0, p.frames, CHUNK):
        chunk = slice(begin, begin + CHUNK)
        dff[chunk] = neural.movie(chunk)
        flow = blood.movie(chunk)
        for name, movie in counts.items():
            absorbed = 1 + tissue[f"gain_{name}"] * flow
            signal = 1 + dff[chunk] if name == "fluorescence" else 1.0
            expected = tissue[f"baseline_{name}"] * tissue[f"bleaching_{name}"][chunk, None, None] * absorbed * signal
            movie[chunk] = p.dark + np.rint(_photons(np.maximum(expected, 0.0), p, brain, rng))
    return counts["fluorescence"], counts["reference"], dff


def _photons(expected: np.ndarray, p: WidefieldParams, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return counts whose shot noise is `shot_noise` of F at the mean baseline; none where no light comes from."""
    if p.shot_noise == 0:
        return expected
    counts_per_photon = p.baseline * p.shot_noise**2
    noisy = np.zeros_like(expected)
    noisy[:, brain] = rng.poisson(expected[:, brain] / counts_per_photon) * counts_per_photon
    return np.minimum(noisy, 65535 - p.dark)


def _truth(
    dff: np.ndarray,
    blood: Factors,
    tissue: dict[str, np.ndarray],
    trials: dict[str, np.ndarray],
    areas: np.ndarray,
) -> xr.Dataset:
    maps = {name: (("y", "x"), values.astype(np.float32)) for name, values in tissue.items() if values.ndim == 2}
    courses = {name: ("time", values.astype(np.float32)) for name, values in tissue.items() if values.ndim == 1}
    truth = xr.Dataset(
        {
            "dff": (("time", "y", "x"), dff, {"units": "ΔF/F"}),
            "hemodynamics_course": (("time", "component"), blood.courses.astype(np.float32)),
            "hemodynamics_map": (("component", "y", "x"), blood.maps.astype(np.float32)),
            "area_map": (("area", "y", "x"), areas.astype(np.float32)),
            "area_delay": ("area", [delay for _, _, delay in AREAS.values()], {"units": "s"}),
            "amplitude": ("event", trials["amplitude"], {"units": "ΔF/F"}),
            "gain": ("event", trials["gain"]),
        }
        | maps
        | courses
    )
    return truth.assign_coords(area=list(AREAS))


def hemodynamics(truth: xr.Dataset, channel: str) -> np.ndarray:
    """Return the hemodynamic movie planted in a channel, fraction of F, shape (time, y, x)."""
    movie = np.tensordot(truth["hemodynamics_course"].values, truth["hemodynamics_map"].values, axes=1)
    return movie * truth[f"gain_{channel}"].values
