"""Feature matrices: one row per window, from signals, from a projection of training frames, or from a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.registry import unknown
from neurodyn.data.windows import Windows
from neurodyn.decode import DECODERS
from neurodyn.decode.foretelling import fit_foretelling, foretelling_stretches
from neurodyn.decode.projection import Projection, fit_projection
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source

CHUNK_BYTES = 128 * 2**20
FEWEST_CELLS = 5  # of which common factors can be told
PROJECTED = ("pca", "factors")
ALONE = ("sequence", "best", "whole")
WHOLE_WINDOW = ("summary",)  # one row per window, without a time axis to reduce
REDUCTIONS = ("last", "change", "mean", "flat", "initial", "response", "patches", "sequence", "best")
MODEL_FEATURES = {
    "summary": "summary",
    "latents": "latents",
    "reconstruction": "mean",
    "attention": "attention",
    "rates": "rates",
    "inputs": "inputs",
    "inferred_spikes": "spikes",
}

CHOSEN = ("latents", "rates", "inferred_spikes", "summary")  # of these training folds choose a form, if none is named
MODEL_DEFAULTS = ("summary", "latents", "reconstruction")

Reader = Callable[[slice], np.ndarray]


def default_reduction(windows: Windows, sequential: bool = False) -> str:
    """Return "sequence" for decoders of sequences; "response" for windows that begin before an event; else "last+change"."""
    if sequential:
        return "sequence"
    return (
        "response" if windows.config.align == "events" and windows.times[0] < 0 <= windows.times[-1] else "last+change"
    )


def baseline_names(source: Source, sequential: bool = False) -> list[str]:
    """Name the rows every decoding shows: raw, pooled over space or time, and projected on training frames."""
    reduction = default_reduction(source.windows, sequential)
    variable = source.windows.config.variable
    pooled = "patches" if len(source.windows.space) == 2 else "mean"
    names = [f"{variable}:{reduction}", f"{variable}:{pooled}"]
    if source.train is None:
        return names
    if sequential:
        return [*names, f"pca:{reduction}"]
    factors = ["factors:best"] if pooled == "mean" and _width(source) >= FEWEST_CELLS else []
    foretelling = [_full("reduced_rank", source)] if foretelling_stretches(source).size else []
    return [*names, "pca:best", *factors, *foretelling]


def feature_names(source: Source, config: DecodeConfig) -> list[str]:
    """Return the full names of the rows to make, baselines first, each once."""
    asked = list(config.features)
    if not asked and source.prediction is not None:
        asked = [name for name in MODEL_DEFAULTS if MODEL_FEATURES[name] in source.prediction]
    if config.protocol == "paper":
        variable = source.windows.config.variable
        asked = [f"{variable}:flat", f"{variable}:last", *asked]
        if source.prediction is not None and "attention" in source.prediction and "attention" not in asked:
            asked.append("attention")
    sequential = config.decoder is not None and DECODERS.get(config.decoder).sequential
    full = [_full(name, source, sequential, config.protocol == "paper") for name in asked]
    return list(dict.fromkeys([*baseline_names(source, sequential), *full]))


def reference_names(config: DecodeConfig, made: Sequence[str]) -> list[str]:
    """Return which of the rows `made` others are compared with; BASE alone stands for its first row.

    Raises
    ------
    UnknownNameError
        If there is no such row.
    """
    found = []
    for name in config.against:
        rows = [row for row in made if name in (row, row.partition(":")[0])]
        if not rows:
            raise unknown("row to compare with", name, made)
        found.append(rows[0])
    return found


def _full(name: str, source: Source, sequential: bool = False, fixed: bool = False) -> str:
    """Return a feature's name with its reduction; with `fixed` none is left to training folds to choose."""
    base, sign, reduction = name.partition(":")
    base = source.windows.config.variable if base == "raw" else base
    parts = _parts(source)
    if not sign:
        reduction = _usual(base, source.windows, sequential, fixed or (base in WHOLE_WINDOW and not parts))
    known = (*parts, "whole", "best") if base in WHOLE_WINDOW else REDUCTIONS
    for part in reduction.split("+"):
        if part not in known:
            raise unknown("reduction", part, known)
        if part in ALONE and reduction != part:
            raise ConfigError(
                f"'{name}' joins {part} with something else.", f"{part} stands alone.", f"Use {base}:{part}"
            )
    return f"{base}:{reduction}"


def _usual(base: str, windows: Windows, sequential: bool, fixed: bool) -> str:
    if base in CHOSEN and not sequential and not fixed:
        return "best"
    if base in WHOLE_WINDOW:
        return "whole"
    usual = default_reduction(windows, sequential)
    if base == "attention" and not sequential:
        return "flat"
    # The codes of reduced_rank hold the window's course already.
    return "last" if base == "reduced_rank" and usual == "last+change" else usual


def _parts(source: Source) -> dict[str, int]:
    """Return the parts of the model's summary, name -> width; none where it has only one."""
    summary = None if source.prediction is None else source.prediction.get("summary")
    return {} if summary is None else {name: int(width) for name, width in summary.attrs.get("parts", {}).items()}


def is_model(name: str) -> bool:
    """Say whether a feature comes from a model rather than from the signal."""
    return name.partition(":")[0] in MODEL_FEATURES


def build_forms(
    name: str, source: Source, config: DecodeConfig, fit: Callable[[str], Projection] | None = None
) -> dict[str, np.ndarray]:
    """Make a feature in every form that training folds choose from; in one form where its name says which.

    Parameters
    ----------
    name
        "BASE:REDUCTION+REDUCTION", as from `feature_names`; of "BASE:best" there are several forms, the usual one first.
    source
        Windows of one session.
    fit
        Gives a projection by its name, where several features share it (default: `fit_projection`).

    Returns
    -------
    dict
        Name of the form, without BASE -> float32, shape (window, feature); (window, time, feature) for "sequence".

    Raises
    ------
    DataError
        If the signal or the model's output does not exist.
    ConfigError
        If the reduction does not suit the windows.
    """
    base, _, reduction = name.partition(":")
    if base in WHOLE_WINDOW:
        return _summary_forms(_model(source, base)(slice(None)), source, reduction)
    read = _reader(base, source, config, fit or partial(fit_projection, source, config))
    forms = _compared(source.windows) if reduction == "best" else (reduction,)
    reducers = {form: _Reducer(tuple(form.split("+")), source, config.grid, base) for form in forms}
    rows: dict[str, list[np.ndarray]] = {form: [] for form in forms}
    for part in chunks(source, row_bytes(source, base)):
        values = read(part)
        for form, reduce in reducers.items():
            rows[form].append(reduce(values))
    return {form: np.concatenate(some).astype(np.float32) for form, some in rows.items()}


def build_features(name: str, source: Source, config: DecodeConfig) -> np.ndarray:
    """Make one feature matrix, float32, shape (window, feature): as `build_forms`, of a feature with one form."""
    (values,) = build_forms(name, source, config).values()
    return values


def course_name(source: Source) -> str:
    """Name what `build_courses` gives."""
    variable = source.windows.config.variable
    return f"{variable}:patches" if len(source.windows.space) == 2 else variable


def build_courses(source: Source, config: DecodeConfig) -> np.ndarray:
    """Return what every cell, or patch of a movie, does in each window, float32, shape (window, time, feature)."""
    variable = source.windows.config.variable
    read, reducer = _signal(source, variable), _Reducer((), source, config.grid, variable)
    movie = len(source.windows.space) == 2
    parts = (read(part) for part in chunks(source, row_bytes(source, variable)))
    made = [reducer.patches(values) if movie else values[:, :, source.entries] for values in parts]
    return np.concatenate(made).astype(np.float32)


def _compared(windows: Windows) -> tuple[str, ...]:
    """Name the reductions that training folds choose from."""
    usual = default_reduction(windows)
    return tuple(dict.fromkeys((usual, "mean", "flat", *(("initial",) if usual == "response" else ()))))


def _summary_forms(values: np.ndarray, source: Source, form: str) -> dict[str, np.ndarray]:
    """Return the model's summary as a whole, and each of its parts."""
    parts = _parts(source)
    forms = {"whole": values}
    if parts:
        forms |= dict(zip(parts, np.split(values, np.cumsum([*parts.values()])[:-1], axis=1), strict=True))
    return forms if form == "best" else {form: forms[form]}


def _reader(base: str, source: Source, config: DecodeConfig, fit: Callable[[str], Projection]) -> Reader:
    if base == "reduced_rank":
        return _coded(source, fit("pca"))
    if base in PROJECTED:
        return _projected(_signal(source, source.windows.config.variable), fit(base))
    if base == "reconstruction" and _width(source) > config.components and source.train is not None:
        return _projected(_model(source, base), fit("pca"))
    return _model(source, base) if base in MODEL_FEATURES else _signal(source, base)


def row_bytes(source: Source, base: str) -> int:
    """Return the bytes of one window of a signal or of a model's output."""
    if base in MODEL_FEATURES and source.prediction is not None:
        array = source.prediction.get(MODEL_FEATURES[base])
        return 4 if array is None else 4 * int(array.size / max(1, array.sizes["window"]))
    return 4 * source.windows.frames * int(np.prod(source.windows.space))


def chunks(source: Source, each: int) -> Iterator[slice]:
    """Yield stretches of windows of `each` bytes that fit into memory together."""
    step = max(1, CHUNK_BYTES // max(1, each))
    for start in range(0, len(source.windows), step):
        yield slice(start, min(start + step, len(source.windows)))


def _width(source: Source) -> int:
    return int(source.entries.sum())


def _signal(source: Source, variable: str) -> Reader:
    """Read a variable of the recording, shape (window, time, *space)."""
    recording = source.recording
    if variable not in recording.variables:
        made = [] if source.prediction is None else [k for k, v in MODEL_FEATURES.items() if v in source.prediction]
        raise DataError(
            f"There is no feature '{variable}'.",
            f"Found signals: {', '.join(recording.variables)}; from the model: {', '.join(made) or 'nothing'}; also pca, factors, reduced_rank.",
            "Name one of these: --features NAME",
        )
    windows = source.windows
    if variable != windows.config.variable:
        config = windows.config.model_copy(update={"variable": variable})
        windows = Windows(windows.recordings, config, windows.session, windows.first, windows.trial, windows.frames)
    return lambda part: windows.values(part)[0]


def _model(source: Source, base: str) -> Reader:
    name = MODEL_FEATURES[base]
    if source.prediction is None or name not in source.prediction:
        where = "A bare recording has no model." if source.prediction is None else "The run's prediction lacks it."
        raise DataError(
            f"There is no feature '{base}'.", where, "Decode a run whose model gives it: neurodyn decode RUN"
        )
    array = source.prediction[name]
    return lambda part: array.isel(window=part).values.astype(np.float32)


def _coded(source: Source, projection: Projection) -> Reader:
    """Read what of each frame, and of those before it in the window, tells the next half second."""
    found = fit_foretelling(source, projection, CHUNK_BYTES)
    read = _signal(source, source.windows.config.variable)
    return lambda part: found(projection(read(part)))


def _projected(read: Reader, projection: Projection) -> Reader:
    return lambda part: projection(read(part))


@dataclass(frozen=True)
class _Reducer:
    """Turn windows, shape (window, time, *space), into rows, shape (window, feature), or sequences of such."""

    names: tuple[str, ...]
    source: Source
    grid: tuple[int, int]
    base: str

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return np.concatenate([self._one(name, values) for name in self.names], axis=1)

    def _one(self, name: str, values: np.ndarray) -> np.ndarray:
        times = self.source.windows.times
        if name == "patches":
            pooled = self.patches(values)
            return _temporal(
                "response" if default_reduction(self.source.windows) == "response" else "last", pooled, times
            )
        if values.shape[2:] == self.source.windows.space:
            values = values[:, :, self.source.entries]
        return _temporal(name, values.reshape(*values.shape[:2], -1), times)

    def patches(self, values: np.ndarray) -> np.ndarray:
        """Return means over patches, shape (window, time, patch)."""
        brain = self.source.entries
        if brain.ndim != 2 or values.shape[2:] != brain.shape:
            raise ConfigError(
                f"'{self.base}:patches' needs a movie.",
                f"Found values of shape {values.shape[2:]} per frame.",
                f"Use {self.base}:mean or {self.base}:last",
            )
        tiles = patch_index(brain.shape, self.grid)
        found = [tile for tile in range(tiles.max() + 1) if (brain & (tiles == tile)).any()]
        return np.stack([values[:, :, brain & (tiles == tile)].mean(axis=-1) for tile in found], axis=-1)


def patch_index(shape: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Return the number of the patch each pixel belongs to, row by row, shape (y, x)."""
    rows, columns = (np.arange(size) * min(count, size) // size for size, count in zip(shape, grid, strict=True))
    return rows[:, None] * min(grid[1], shape[1]) + columns


def _temporal(name: str, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Reduce time: values shape (window, time, entry), times in s from the window's start or the event."""
    if name == "last":
        return values[:, -1]
    if name == "change":
        return values[:, -1] - values[:, 0]
    if name == "initial":
        return values[:, 0]
    if name == "mean":
        return values.mean(axis=1)
    if name == "sequence":
        return values
    if name == "flat":
        return values.reshape(values.shape[0], -1)
    before = times < -1e-9
    if before.all() or not before.any():
        raise ConfigError(
            "response needs frames before and after the event.",
            f"Found times from {times[0]:g} to {times[-1]:g} s.",
            "Align to events with a negative offset: --set windows.align=events --set windows.offset=-1",
        )
    return values[:, ~before].mean(axis=1) - values[:, before].mean(axis=1)
