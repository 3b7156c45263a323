"""ΔF/F about any of the field's baselines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Self

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.baselines import odd
from neurodyn.preprocess.dff_params import LEVELS, DffParams
from neurodyn.preprocess.dff_quality import BaselineRecord
from neurodyn.preprocess.extracted import CITATION
from neurodyn.preprocess.levels import Levels, Source, batches, rows, strips
from neurodyn.preprocess.scan import Scan, scan
from neurodyn.preprocess.tiles import blocks, inside, noun, same_shape, tiles, warn_gaps
from neurodyn.preprocess.timeline import Span, Timeline, fill_short, near
from neurodyn.preprocess.windowed import Windowed, longest_window, windowed

LOGGER = logging.getLogger(__name__)


ALLEN = "de Vries et al., Nat Neurosci 23, 138-151 (2020), doi:10.1038/s41593-019-0550-9"
LOHANI = "Lohani et al., Nat Neurosci 25, 1706-1713 (2022), doi:10.1038/s41593-022-01202-6"
SOURCES = {"maximin": CITATION, "minimum": CITATION, "allen-median": ALLEN, "allen-mode": ALLEN, "fir": LOHANI}


class Dff(Step):
    """Relative change of fluorescence about a baseline.

    ΔF/F(t) = (F(t) - F0(t)) / D(t), where F0 is the baseline of the input and D the same baseline of `f0_from`
    (D = F0 unless that is given). Pixels outside the brain become 0.

    Baselines (`method`)
        Rolling: `percentile`; `maximin`, Gaussian smoothing, rolling minimum, rolling maximum (Pachitariu et al.,
        bioRxiv 061507, 2017); `rolling-mean`; `allen-median`, D = max(median, noise level), after which a short
        median of at most 2.5 noise levels is subtracted (de Vries et al., Nat Neurosci 23, 138, 2020); `allen-mode`,
        the mode, averaged; `fir` (Lohani et al., Nat Neurosci 25, 1706, 2022) and `butterworth`, low-pass filters.
        One number: `constant`, `minimum`, `lowest`, `mean`. Per trial: `trial`; a trial lasts from its baseline to the
        next one, frames before the first belong to it.
    Small denominators (`floor`, `guard`)
        Nothing is divided by D <= floor times the mean absolute fluorescence; such frames are refused or NaN. Allen's
        rule divides by the noise level there instead, so that only D = 0 is refused.
    NaN and saturated frames (`nan`, `saturated`)
        With "frames" they stay NaN; F0 is taken across them by a straight line of at most `fill` s, and is NaN
        wherever its window touches a longer hole. Baselines of one number leave them out. Only integer types have a
        saturation value, their largest.
    Missing frames (`gaps`)
        Windows count frames across gaps in the frame times, with a warning, unless they are to restart after them:
        so a recording in trials keeps windows longer than a trial. Baselines of one number go by the frame times
        and need no rule.
    Ends (`edge`)
        The trace is mirrored by default: zero padding, Allen's own, lets F0 sink within half a window of the ends.
        `rolling-mean` and `allen-mode` cut their windows there.

    A movie is read in blocks of time with a halo, once; one-number baselines read it twice. A long halo, or whole
    traces (`allen-median`, `constant`, `minimum`, `lowest`), are bound to 192 MiB by working on strips of a tile, each
    of which reads the tile's chunks again.
    """

    Params = DffParams
    params: DffParams
    citation = CITATION

    def __init__(self, params: DffParams) -> None:
        super().__init__(params)
        self._half_gain_hz: float | None = None

    @property
    def source(self) -> str:
        """The paper behind the baseline; none for those that any textbook has."""
        return SOURCES.get(self.params.method, "")

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Once; twice for baselines of one number."""
        return 2 if self.params.method in LEVELS else 1

    @property
    def requires(self) -> tuple[str, ...]:
        """The fluorescence, and the variable whose baseline divides."""
        denominator = self.params.f0_from
        return (self.params.input,) if denominator in (None, self.params.input) else (self.params.input, denominator)

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Shorten a window that is longer than the recording to the recording; refuse what cannot be shortened."""
        p, rate = self.params, recording.rate_hz
        if p.method in LEVELS:
            return self, ""
        timeline = Timeline.of(recording.time, rate, p.gaps, int(p.fill * rate + 1e-9))
        window = longest_window(p, rate, timeline.shortest)
        if window is None:
            windowed(p, rate, timeline.shortest)
            return self, ""
        step = type(self)(p.model_copy(update={"window": window}))
        what = "the recording" if p.gaps == "across" else "its shortest stretch without missing frames"
        return step, (
            f"The baseline's window of {p.window_s:g} s ({odd(p.window_s * rate)} frames) does not fit {what} "
            f"({timeline.shortest} frames) and was shortened to {window:.4g} s."
        )

    def apply(self, workspace: Workspace) -> None:
        """Compute tile by tile and block by block; the result does not depend on how the movie is cut."""
        same_shape(workspace, self.params.input, self.requires[-1], "dff")
        job = _Level(self.params, workspace) if self.params.method in LEVELS else _Windows(self.params, workspace)
        self._half_gain_hz = job.about.get("half_gain_hz")
        job.run()

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        divisor = f", divided by the same baseline of '{p.f0_from}'" if p.f0_from not in (None, p.input) else ""
        rules = f"; {p.handling()}" if p.handling() else ""
        return (
            f"ΔF/F of '{p.input}' was computed about a baseline F0, {p.baseline(self._half_gain_hz)}{divisor}{rules}."
        )


class _Job:
    """One variable being made: what is data, what may divide, and what was found on the way."""

    about: Mapping[str, float]

    def __init__(self, params: DffParams, workspace: Workspace) -> None:
        self.params, self.workspace = params, workspace
        names = [params.input, params.f0_from or params.input]
        looks = [scan(workspace, name, params.nan, "dff") for name in names]
        source = workspace[params.input]
        self.broken = np.zeros(source.shape[1:], dtype=bool)
        holes = [self._holes(look) for look in looks]
        self.mask = inside(workspace, source) & ~self.broken
        self.sources = [Source(workspace[n], h, self._ceiling(n)) for n, h in zip(names, holes, strict=True)]
        self.one = names[0] == names[1]
        self.floor = looks[1].scale * (0 if params.method == "allen-median" else params.floor)
        self.low = np.zeros(self.mask.shape, dtype=bool)
        self.finite = False
        self.record = BaselineRecord(workspace, source, params.output)

    def _holes(self, look: Scan) -> np.ndarray:
        """Mark what the settings leave out altogether, and return where only frames are left out."""
        p, holes = self.params, np.zeros(look.broken.shape, dtype=bool)
        for found, rule in ((look.broken, p.nan), (look.saturated > 0, p.saturated)):
            if rule == "nan":
                self.broken |= found
            elif rule == "frames":
                holes |= found
        return holes

    def _ceiling(self, name: str) -> float | None:
        dtype = np.dtype(self.workspace[name].dtype)
        return float(np.iinfo(dtype).max) if dtype.kind in "iu" else None

    def create(self) -> None:
        """Create the output variable."""
        p = self.params
        self.target = self.workspace.create(p.output, p.input, "ΔF/F", "dff", baseline=p.method, **self.about)

    def divide(self, change: np.ndarray, divisor: np.ndarray, floor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return change / divisor with NaN where the divisor is too small, and where that was."""
        bad = np.broadcast_to((divisor <= floor) | (divisor <= 0), change.shape)
        return np.divide(change, divisor, out=np.full(change.shape, np.nan), where=~bad), bad

    def _note(self, values: np.ndarray) -> None:
        """Note whether anything that counts is a number."""
        self.finite = self.finite or bool(np.isfinite(values).any())

    def finish(self) -> None:
        """Keep the baseline for the report; refuse or log what could not be divided, and log what was NaN already."""
        what, low = noun(self.target), self.low
        if not self.finite and not (low.any() and self.params.guard == "error"):
            raise DataError(
                f"dff: every value of '{self.params.output}' would be NaN.",
                f"{int(self.broken.sum())} of {self.broken.size} {what} are left out whole, the others have no baseline.",
                "Leave the frames out instead: --set dff.nan=frames; or mend the recording: neurodyn validate RECORDING",
            )
        if self.broken.any():
            LOGGER.warning("dff: %d %s have NaN or saturated frames and become NaN.", self.broken.sum(), what)
        if low.any() and self.params.guard == "error":
            raise DataError(
                f"dff: the baseline is near zero or negative in {low.sum()} of {low.size} {what}.",
                f"F0 must exceed {self.params.floor:g} of the mean absolute fluorescence.",
                "Divide by the trace before subtraction (--set dff.f0_from=fluorescence), mask (--brain), or --set dff.guard=nan",
            )
        if low.any():
            message = "dff: %d of %d %s have frames without a usable baseline, set to NaN."
            LOGGER.warning(message, low.sum(), low.size, what)
        self.record.keep()


class _Level(_Job):
    """Baselines of one number, or one per trial: found first, then used on whole chunks."""

    def __init__(self, params: DffParams, workspace: Workspace) -> None:
        super().__init__(params, workspace)
        self.levels, self.about = Levels.of(params, workspace), {}

    def run(self) -> None:
        """Find the levels of each tile, then divide its chunks."""
        self.create()
        array, parts = self.target, tiles(self.target)
        for done, tile in enumerate(parts):
            f0, divisor = self._levels(tile)
            for block in blocks(array):
                self._write((block.keep, *tile), f0, divisor)
                self.workspace.progress((done + block.keep.stop / array.shape[0]) / len(parts))
        self.finish()

    def _levels(self, tile: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return F0 and D of a tile, each of shape (level, *tile)."""
        f0 = self.levels.find(self.sources[0], tile, self.mask[tile])
        return f0, f0 if self.one else self.levels.find(self.sources[1], tile, self.mask[tile])

    def _write(self, key: tuple[slice, ...], f0: np.ndarray, divisor: np.ndarray) -> None:
        frames, tile = key[0], key[1:]
        level = self.levels.level[frames] if len(f0) > 1 else slice(None)
        mask = self.mask[tile]
        change = np.where(mask, self.sources[0].read(frames, tile) - f0[level], 0.0)
        values, bad = self.divide(change, np.where(mask, divisor[level], 1.0), np.where(mask, self.floor[tile], 0.0))
        self.low[tile] |= bad.any(axis=0)
        self.record.add_change(frames, values[:, mask])
        values[:, self.broken[tile]] = np.nan
        self._note(values[:, self.mask[tile]])
        self.target[key] = values.astype(np.float32)
        self.record.add_levels(frames, tile, f0, self.levels.level[frames])


class _Windows(_Job):
    """Baselines that follow the trace, in blocks of time with a halo."""

    def __init__(self, params: DffParams, workspace: Workspace) -> None:
        super().__init__(params, workspace)
        self.longest = int(params.fill * workspace.rate_hz + 1e-9)
        self.timeline = Timeline.of(workspace.time, workspace.rate_hz, params.gaps, self.longest)
        self.windowed: Windowed = windowed(params, workspace.rate_hz, self.timeline.shortest)
        self.about = self.windowed.about
        if params.gaps == "across":
            warn_gaps(workspace, "dff")
        if params.method == "fir":
            LOGGER.info("dff: the FIR baseline has half its gain (-6 dB) at %.3g Hz.", self.about["half_gain_hz"])

    def run(self) -> None:
        """Work through tiles, blocks of time, stretches and strips."""
        self.create()
        keys = [(block.keep, tile) for tile in tiles(self.target) for block in blocks(self.target, self._halo())]
        for done, (keep, tile) in enumerate(keys, start=1):
            for span in self.timeline.spans(keep, self._halo(), self.windowed.multiple):
                for strip in strips(tile, self._bytes(span)):
                    self._write(span, strip)
            self.workspace.progress(done / len(keys))
        self.finish()

    def _halo(self) -> int:
        """Return how far to read on both sides: beyond the window, holes must be seen as long or short."""
        filled = self.timeline.holes or any(source.holes.any() for source in self.sources)
        whole = self.windowed.noise_frames > 0
        if whole:
            return int(self.timeline.place[-1]) + 1
        return self.windowed.halo + (self.longest + 1 if filled else 0)

    def _bytes(self, span: Span) -> int:
        read = span.read.stop - span.read.start
        stored = self.sources[0].array.dtype.itemsize * (1 if self.one else 2)
        return read * stored + (span.keep.stop - span.keep.start) * 4

    def _write(self, span: Span, tile: tuple[slice, ...]) -> None:
        signal = self.sources[0].read(span.read, tile)
        other = signal if self.one else self.sources[1].read(span.read, tile)
        mask, floor = self.mask[tile].ravel(), self.floor[tile].ravel()
        values = np.zeros((span.keep.stop - span.keep.start, mask.size), dtype=np.float32)
        low = np.zeros(mask.size, dtype=bool)
        entries = np.arange(self.mask.size).reshape(self.mask.shape)[tile].ravel()
        for some in batches(np.flatnonzero(mask), span.length):
            trace, f0, divisor = self._baselines(rows(signal, some), None if self.one else rows(other, some), span)
            change, bad = self.divide(trace - f0, divisor, floor[some, None])
            low[some] = bad.any(axis=1)
            values[:, some] = self._finished(change).T
            self.record.add_change(span.keep, values[:, some])
            self.record.add_traces(span.keep, entries[some], f0)
        values[:, self.broken[tile].ravel()] = np.nan
        self._note(values[:, mask])
        shape = self.mask[tile].shape
        self.low[tile] |= low.reshape(shape)
        self.target[(span.keep, *tile)] = values.reshape(-1, *shape)

    def _baselines(
        self, signal: np.ndarray, other: np.ndarray | None, span: Span
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return F, F0 and D of the frames kept, each of shape (trace, keep)."""
        trace, f0, divisor = self._baseline(signal, span)
        if other is not None:
            divisor = self._baseline(other, span)[2]
        return trace, f0, divisor

    def _baseline(self, traces: np.ndarray, span: Span) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if not span.whole:
            grid = np.full((len(traces), span.length), np.nan)
            grid[:, span.lay] = traces
            traces = grid
        filled, far = fill_short(traces, self.longest)
        f0 = self.windowed.baseline(filled)
        divisor = self.windowed.divisor(filled, f0)
        at = slice(span.at[0], span.at[-1] + 1) if span.at[-1] - span.at[0] + 1 == span.at.size else span.at
        if far is not None:
            touched = near(far, self._reach())
            f0, divisor = np.where(touched, np.nan, f0), np.where(touched, np.nan, divisor)
        return traces[:, at], f0[:, at], divisor[:, at]

    def _reach(self) -> int:
        """Return how far a long hole reaches."""
        allen = self.windowed.noise_frames > 0
        return int(self.about["window_frames"]) // 2 if allen else self.windowed.halo

    def _finished(self, change: np.ndarray) -> np.ndarray:
        if not self.windowed.short_frames:
            return change
        filled, _ = fill_short(change, self.longest)
        return np.where(np.isnan(change), np.nan, self.windowed.finish(filled))
