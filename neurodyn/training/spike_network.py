"""Train spike networks on cells whose fluorescence and spikes were recorded together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.calcium.spike_inputs import CONTEXT, INPUTS, INPUTS_AHEAD, STEP_OF_NOISE, Scaled, surround
from neurodyn.calcium.spike_network import FASTEST, OFFSETS, Layer, RateSpread, SpikeNetwork
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.training.spike_cells import LEAST_SECONDS, SpikeTraining, Stretch, TruthCell
from neurodyn.training.spike_delay import events_delay
from neurodyn.training.spike_spread import missed, rate_spread, together

TRIES = 200


class SpikeModule(nn.Module):
    """The network of `calcium.spike_network` as layers that can be trained.

    Parameters
    ----------
    width
        Features of each layer.
    layers
        How many layers follow the first.
    lookahead
        As in `SpikeNetwork`.
    """

    def __init__(self, width: int, layers: int, lookahead: float | None = None) -> None:
        super().__init__()
        self.offsets = SpikeNetwork((), 0.0, lookahead=lookahead).offsets
        wide = [len(self.offsets) * width] * layers
        seen = INPUTS if lookahead is None else INPUTS_AHEAD
        sizes = [(seen, width), *((size, width) for size in wide), ((layers + 1) * width, 1)]
        self.layers = nn.ModuleList(nn.Linear(given + CONTEXT, made) for given, made in sizes)

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, seen: Tensor, context: Tensor, rate_hz: float) -> Tensor:
        """Return expected spikes per second, shape (batch, time).

        Parameters
        ----------
        seen
            As `surround` gives it, shape (batch, time, INPUTS).
        context
            Shape (batch, CONTEXT).
        """
        told = context[:, None].expand(-1, seen.shape[1], -1)
        first, *more, last = self.linears
        hidden = [functional.relu(first(torch.cat([seen, told], -1)))]
        for layer in more:
            hidden.append(functional.relu(layer(torch.cat([beside(hidden[-1], rate_hz, self.offsets), told], -1))))
        return functional.softplus(last(torch.cat([*hidden, told], -1))[..., 0])

    def take(self, layers: tuple[Layer, ...]) -> None:
        """Start from these weights.

        Raises
        ------
        ConfigError
            If they have another shape.
        """
        shapes = [tuple(layer.weight.shape) for layer in self.linears]
        if [layer.weight.T.shape for layer in layers] != shapes:
            raise ConfigError(
                "The weights to start from have another shape.",
                f"Found {[layer.weight.T.shape for layer in layers]}, expected {shapes}.",
                "Give their size: --set width=32 --set layers=2 (and the lookahead, for streams)",
            )
        with torch.no_grad():
            for own, given in zip(self.linears, layers, strict=True):
                own.weight.copy_(torch.from_numpy(given.weight.T))
                own.bias.copy_(torch.from_numpy(given.bias))

    def exported(self) -> tuple[Layer, ...]:
        """Return the layers for inference."""
        return tuple(
            Layer(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in self.linears
        )


def beside(values: Tensor, rate_hz: float, offsets: tuple[float, ...]) -> Tensor:
    """Return values at the offsets around each frame side by side, shape (batch, time, offset * feature)."""
    pad, size = math.ceil(OFFSETS[-1] * rate_hz) + 1, values.shape[1]
    held = functional.pad(values.mT, (pad, pad), mode="replicate").mT
    found = []
    for offset in offsets:
        whole, part = divmod(offset * rate_hz, 1)
        begin = pad + int(whole)
        here = held[:, begin : begin + size]
        found.append(here if not part else (1 - part) * here + part * held[:, begin + 1 : begin + 1 + size])
    return torch.cat(found, -1)


@dataclass(frozen=True)
class Drawn:
    """Segments of one frame rate.

    Parameters
    ----------
    seen, context
        What the network is told.
    counts
        Spikes per frame, shape (batch, time).
    rate_hz
        Frames per second.
    """

    seen: Tensor
    context: Tensor
    counts: Tensor
    rate_hz: float


class Draw:
    """Draws segments of random frame rates, stretched in time and made noisier, from cells recorded both ways.

    Parameters
    ----------
    cells
        To draw from.
    config
        How.
    seed
        Of all that is drawn.
    """

    def __init__(self, cells: Sequence[TruthCell], config: SpikeTraining, seed: int) -> None:
        self.config, self.rng = config, np.random.default_rng(seed)
        self.datasets: dict[str, list[TruthCell]] = {}
        for cell in cells:
            self.datasets.setdefault(cell.dataset, []).append(cell)
        roots = np.array([math.sqrt(len(group)) for group in self.datasets.values()])
        self.odds = roots / roots.sum()

    def __call__(self) -> Drawn:
        """Draw a batch."""
        c = self.config
        rate = float(np.exp(self.rng.uniform(math.log(c.slowest), math.log(FASTEST))))
        while True:
            made = [self._segment(rate) for _ in range(c.batch)]
            kept = [one for one in made if one is not None]
            if len(kept) == c.batch:
                break
            rate = max(c.slowest, 0.8 * rate)  # what is recorded at such a rate is too short or too rare
        seen, context, counts = (torch.from_numpy(np.stack(each)) for each in zip(*kept, strict=True))
        return Drawn(seen, context, counts, rate)

    def _segment(self, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        for _ in range(TRIES):
            cell = self._cell()
            warp = math.exp(self.rng.uniform(-self.config.warp, self.config.warp))
            if cell.rate_hz / warp < 0.98 * rate:
                continue
            found = self._seen(cell, warp, rate)
            if found is not None:
                return found
        return None

    def _cell(self) -> TruthCell:
        groups = list(self.datasets.values())
        group = groups[self.rng.choice(len(groups), p=self.odds)]
        return group[self.rng.integers(len(group))]

    def _seen(self, cell: TruthCell, warp: float, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return a segment of a cell at that rate; None where its stretch is too short or still."""
        c, rng = self.config, self.rng
        lengths = np.array([part.dff.size for part in cell.stretches], dtype=float)
        part = cell.stretches[rng.choice(lengths.size, p=lengths / lengths.sum())]
        trace, counts = resampled(part, cell.rate_hz / warp, rate, warp, rng.random(), c.seen, rng)
        frames = round(c.seconds * rate)
        if trace.size < LEAST_SECONDS * rate:
            return None
        if rng.random() < c.noisy:
            level = float(np.median(np.abs(np.diff(trace)))) / STEP_OF_NOISE
            trace = trace + rng.normal(size=trace.size) * level * math.sqrt(math.exp(rng.uniform(0, 2.2)) - 1)
        scaled = Scaled.of([trace * math.exp(0.3 * rng.normal())], rate, c.lookahead)
        if scaled is None:
            return None
        start = int(rng.integers(max(1, trace.size - frames + 1)))
        keep = slice(start, min(start + frames, trace.size))
        seen = surround(scaled, 0, keep)
        short = frames - len(seen)
        seen, counts = np.pad(seen, ((0, short), (0, 0)), mode="edge"), np.pad(counts[keep], (0, short))
        return seen, scaled.context, counts.astype(np.float32)


def resampled(
    part: Stretch, native: float, rate: float, warp: float, phase: float, most: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a piece of a stretch at another rate: means of ΔF/F and numbers of spikes over its frames.

    Parameters
    ----------
    native
        Frames per second of the stretch once time is stretched by `warp`.
    phase
        Where in its first frame it begins, 0 to 1.
    most
        Longest piece, s; which one is drawn.
    """
    whole = part.dff.size / native
    begin = phase / rate + (rng.uniform(0, whole - most) if whole > most else 0.0)
    frames = int((min(whole, begin + most) - begin) * rate)
    edges = begin + np.arange(frames + 1) / rate
    total = np.interp(edges, np.arange(part.dff.size + 1) / native, np.r_[0.0, np.cumsum(part.dff / native)])
    return np.diff(total) * rate, np.histogram(part.spikes * warp, edges)[0]


def loss(rates: Tensor, drawn: Drawn) -> Tensor:
    """Return how far expected spikes are from those recorded.

    Poisson's minus log-likelihood per spike, which sets the scale, and 1 - r of both courses, smoothed by 12 ms and by
    .2 s, which is what inference is scored by.
    """
    expected, edge = rates / drawn.rate_hz, round(drawn.rate_hz)
    inner = (slice(None), slice(edge, -edge))
    e, n = expected[inner], drawn.counts[inner]
    likely = ((e - n * torch.log(e + 1e-6)).sum(1) / n.sum(1).clamp(min=1)).mean() / 4
    unlike = [_unlike(smoothed(e, sd * drawn.rate_hz), smoothed(n, sd * drawn.rate_hz)) for sd in (0.012, 0.2)]
    return likely + sum(unlike)


def smoothed(courses: Tensor, sd: float) -> Tensor:
    """Smooth courses, shape (batch, time), with a Gaussian of so many frames; one below .3 frames is none."""
    if sd < 0.3:
        return courses
    reach = math.ceil(3.5 * sd)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    return functional.conv1d(courses[:, None], (kernel / kernel.sum())[None, None], padding=reach)[:, 0]


def _unlike(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of 1 - r over the rows in which anything was fired."""
    a, b = (each - each.mean(1, keepdim=True) for each in (first, second))
    power = b.square().sum(1)
    r = (a * b).sum(1) / torch.sqrt(a.square().sum(1) * power + 1e-8)
    return (1 - r)[power > 1e-3].sum() / len(r)


def trained(
    cells: Sequence[TruthCell],
    config: SpikeTraining,
    start: SpikeNetwork | None = None,
    report: Callable[[str, float], None] = lambda label, share: None,
) -> SpikeNetwork:
    """Train a network.

    Parameters
    ----------
    start
        Weights to start from; `config.members` of them are taken, the last again where there are fewer.
    report
        Called with the stage and the share of it that is done.

    Raises
    ------
    DataError
        If there are no cells.
    ConfigError
        If the weights to start from have another shape.
    """
    if not cells:
        raise DataError(
            "There is nothing to train a spike network on.",
            "Expected recordings with ΔF/F and recorded spikes.",
            "Give ground truth: neurodyn train-spikes DATASET/*.mat -o weights.safetensors",
        )
    found = []
    for member in range(config.members):
        torch.manual_seed(config.seed + member)
        module = SpikeModule(config.width, config.layers, config.lookahead)
        if start is not None:
            module.take(start.members[min(member, len(start.members) - 1)])
        name = f"network {member + 1} of {config.members}"
        _fit(module, Draw(cells, config, config.seed + member), config, lambda done, name=name: report(name, done))
        found.append(module.exported())
    delay = (0.0, 0.0) if config.lookahead is not None else events_delay(cells)
    return SpikeNetwork(tuple(found), config.share, delay, _spread(cells, config, report), config.lookahead)


def _spread(
    cells: Sequence[TruthCell], config: SpikeTraining, report: Callable[[str, float], None]
) -> RateSpread | None:
    """Return how far rates are off where single networks of the same settings have not seen the datasets."""
    if not config.folds:
        return None
    groups, found = together(cells), {}
    if len(groups) < config.folds:
        raise ConfigError(
            f"Datasets cannot be left out in {config.folds} parts.",
            f"Found {len(groups)} that share no cell.",
            f"Give more datasets, or --set folds={len(groups)}",
        )
    single = config.model_copy(update={"folds": 0, "members": 1})
    for fold in range(config.folds):
        left = set().union(*groups[fold :: config.folds])
        name = f"left out, part {fold + 1} of {config.folds}"
        kept = [cell for cell in cells if cell.dataset not in left]
        network = trained(kept, single, None, lambda _, share, name=name: report(name, share))
        found |= {place: missed(network, cell) for place, cell in enumerate(cells) if cell.dataset in left}
    return rate_spread(cells, [found[place] for place in range(len(cells))])


def _fit(module: SpikeModule, draw: Draw, config: SpikeTraining, progress: Callable[[float], None]) -> None:
    optimiser = torch.optim.AdamW(module.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.lr, total_steps=config.steps + 1, pct_start=0.1)
    for step in range(config.steps):
        drawn = draw()
        value = loss(module(drawn.seen, drawn.context, drawn.rate_hz), drawn)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress((step + 1) / config.steps)
