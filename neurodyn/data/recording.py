"""`Recording`: one session in one Zarr group, validated when built."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.core.files import clear_partials, locked
from neurodyn.core.provenance import version
from neurodyn.data.damage import library, reason
from neurodyn.data.integrity import check_whole, checked
from neurodyn.data.schema import LAYOUTS, SCHEMA_VERSION, checked_rate, validate

UNITS = {"fluorescence": "counts", "reference": "counts", "neuropil": "counts", "dff": "ΔF/F", "spikes": "events, a.u."}


@dataclass(frozen=True)
class Recording:
    """One session: neural variables, stimulus events, behaviour, ROIs, ground truth, and the history that made them.

    Parameters
    ----------
    tree
        Groups `neural` (variables with dims (time, roi), (time, y, x) or (time, component), each with `units` and
        `made_by`; optional coordinate `brain`, bool (y, x)), and optionally `stimulus` (dim event: start, stop in
        seconds, then columns), `behavior` (own time axes), `rois` (dim roi), `components` (spatial components, dim
        component), `qc` (what preprocessing saw: maps, motion, dropped frames) and `truth`.
    path
        Where it was opened from, if anywhere.

    Raises
    ------
    DataError
        If a field breaks the contract; the message names the field.
    """

    tree: xr.DataTree
    path: Path | None = None

    def __post_init__(self) -> None:
        validate(self.tree)

    @classmethod
    def from_arrays(
        cls,
        neural: Mapping[str, Any],
        *,
        rate_hz: float | None = None,
        time: np.ndarray | None = None,
        session: str = "session",
        units: Mapping[str, str] | None = None,
        indicator: str = "unknown",
        stimulus: Mapping[str, Any] | None = None,
        behavior: xr.Dataset | None = None,
        rois: xr.Dataset | None = None,
        components: xr.Dataset | None = None,
        qc: xr.Dataset | None = None,
        truth: xr.Dataset | None = None,
        brain: np.ndarray | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Build a Recording from arrays.

        Parameters
        ----------
        neural
            Name -> array, shape (time, roi) or (time, y, x); or lazy xarray Variable, whose dims say so. A plain array
            of fewer frames than ROIs, as of traces that lie (roi, time), is taken as it lies, with a UserWarning:
            give ``xarray.Variable(("time", "roi"), traces)``, or the transpose.
        rate_hz
            Frames per second and channel. Without `time`, frames start at 0 s.
        time
            Frame times in seconds, shape (time,).
        units
            Name -> unit, for names the package has no standing unit for.
        stimulus
            Column -> values, shape (event,), with `start` and `stop` in seconds.
        brain
            Pixels inside the brain, bool, shape (y, x).

        Raises
        ------
        DataError
            If neither rate nor times are given, or a field breaks the contract.
        """
        variables = {name: _variable(name, values, units or {}) for name, values in neural.items()}
        if time is None:
            _warn_of_few_frames(
                {name: values for name, values in neural.items() if not isinstance(values, xr.Variable)}
            )
        if not variables:
            raise DataError(
                "neural: the recording has no variables.", "Expected at least one.", "Give fluorescence=ARRAY"
            )
        frames = next(iter(variables.values())).shape[0]
        if time is None:
            time = np.arange(frames) / checked_rate(rate_hz)
        time = np.asarray(time, dtype=np.float64)
        if rate_hz is None:
            rate_hz = 1.0 / float(np.median(np.diff(time))) if time.size > 1 else None
        coords: dict[str, Any] = {"time": ("time", time, {"units": "s"})}
        if brain is not None:
            coords["brain"] = (("y", "x"), _checked_brain(np.asarray(brain, dtype=bool), variables))
        groups: dict[str, xr.Dataset] = {"/": xr.Dataset(), "neural": _dataset(variables, coords)}
        if stimulus is not None:
            groups["stimulus"] = _stimulus_table(stimulus)
        optional = {"behavior": behavior, "rois": rois, "components": components, "qc": qc, "truth": truth}
        groups |= {name: dataset for name, dataset in optional.items() if dataset is not None}
        strange = [str(name) for dataset in groups.values() for name in dataset.variables if "/" in str(name)]
        if strange:
            raise DataError(
                f"'{strange[0]}' cannot be the name of a variable or column.",
                "Names with a slash stand for places in the file.",
                "Rename it in the source.",
            )
        tree = xr.DataTree.from_dict(groups)
        tree.attrs = {
            "schema_version": SCHEMA_VERSION,
            "session": session,
            "rate_hz": checked_rate(rate_hz),
            "indicator": indicator,
            "history": json.dumps(list(history), ensure_ascii=False),
        } | dict(attrs or {})
        return cls(tree)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a Recording lazily.

        Raises
        ------
        DataError
            If there is no Recording, or it breaks the contract.
        """
        path = Path(path)
        check_whole(path)
        tree = open_tree(path)
        try:
            return cls(tree, path)
        except DataError as error:
            what = error.what if str(path) in error.what else f"{path}: {error.what}"
            raise DataError(what, error.found, error.fix) from error

    def save(self, path: Path | str) -> Path:
        """Write the Recording to a Zarr folder, streaming and atomically; return the path."""
        from neurodyn.data.store import whole_store, write_tree

        path = Path(path)
        with locked(path):
            clear_partials(path)
            with whole_store(path) as folder:
                write_tree(self.tree, folder)
        return path

    def with_groups(
        self,
        groups: Mapping[str, xr.Dataset],
        *,
        step: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the recording with some groups replaced or added.

        Parameters
        ----------
        step
            Entry that the history gains; None for no new one.
        attrs
            Attributes that change.
        """
        own = {name: node.to_dataset(inherit=False) for name, node in self.tree.children.items()}
        told = dict(self.tree.attrs) | dict(attrs or {})
        if step is not None:
            told["history"] = json.dumps([*self.history, step], ensure_ascii=False)
        return type(self)(xr.DataTree.from_dict({"/": xr.Dataset(attrs=told)} | own | dict(groups)), self.path)

    def to_pynapple(self) -> dict[str, Any]:
        """Return neural variables, behaviour and stimuli as objects of pynapple, by name; times in seconds, as here.

        Traces are `TsdFrame` with a column per ROI, named by the ids of the table of ROIs where it has them and with its
        columns as metadata; movies are `TsdTensor`, shape (time, y, x); courses of behaviour are `Tsd`; "stimulus" is an
        `IntervalSet` with the stimulus columns as metadata.

        Raises
        ------
        ConfigError
            If pynapple is not installed.
        """
        from neurodyn.data.pynapple import to_pynapple

        stimulus = None if self.table("stimulus") is None else self.stimulus
        return to_pynapple(self.neural, self.table("rois"), self.table("behavior"), stimulus)

    @property
    def session(self) -> str:
        """Name of the session."""
        return str(self.tree.attrs["session"])

    @property
    def rate_hz(self) -> float:
        """Frames per second and channel."""
        return float(self.tree.attrs["rate_hz"])

    @property
    def indicator(self) -> str:
        """Name of the calcium indicator, or "unknown"."""
        return str(self.tree.attrs.get("indicator", "unknown"))

    @property
    def history(self) -> list[dict[str, Any]]:
        """Every step with its parameters and version, in order."""
        return json.loads(self.tree.attrs["history"])

    @property
    def time(self) -> np.ndarray:
        """Frame times in seconds, shape (time,)."""
        return self.neural["time"].values

    @property
    def brain(self) -> np.ndarray | None:
        """Pixels inside the brain, bool, shape (y, x); None when no mask was given."""
        return self.neural["brain"].values if "brain" in self.neural.coords else None

    @property
    def neural(self) -> xr.Dataset:
        """Neural variables over time."""
        return self.tree["neural"].to_dataset()

    def table(self, group: str) -> xr.Dataset | None:
        """Return an optional group (stimulus, behavior, rois, components, qc, truth), or None when the recording has none."""
        return self.tree.children[group].to_dataset(inherit=False) if group in self.tree.children else None

    @property
    def stimulus(self) -> xr.Dataset:
        """Stimulus events, one row each; what else the group holds is in `table("stimulus")`.

        Raises
        ------
        DataError
            If the recording has none.
        """
        table = self.table("stimulus")
        if table is None:
            raise DataError(
                f"Recording '{self.session}' has no stimulus table.",
                f"Found groups: {', '.join(self.tree.children)}.",
                "Add one when converting, with columns start and stop in seconds.",
            )
        return table.drop_vars([name for name, column in table.variables.items() if "event" not in column.dims])

    @property
    def variables(self) -> list[str]:
        """Names of the neural variables."""
        return [str(name) for name in self.neural.data_vars]

    def __getitem__(self, name: str) -> xr.DataArray:
        if name not in self.neural.data_vars:
            raise DataError(
                f"Recording '{self.session}' has no variable '{name}'.",
                f"Found: {', '.join(self.variables)}.",
                "Name one of these, or make it first: neurodyn preprocess",
            )
        return self.neural[name]


def open_tree(path: Path) -> xr.DataTree:
    """Open a recording's groups lazily, without a look at what they hold.

    Raises
    ------
    DataError
        If there is no Zarr folder of groups.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Expected a recording (.zarr folder).", "Check the path.")
    with library(path, _no_recording), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Object at .* is not recognized")  # .DS_Store and the like
        tree = xr.open_datatree(path, engine="zarr", chunks=None, consolidated=False, create_default_indexes=False)
        return _with_time_indexes(tree, path)


def _no_recording(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is not a neurodyn recording.",
        f"{type(error).__name__}: {reason(error)}.",
        f"Convert it first: neurodyn convert {path} recording.zarr",
    )


DENOISED = "denoise"  # the step of `neurodyn denoise` in a history


def entry(step: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return one history entry: the step, its parameters and this version."""
    return {"step": step, "params": dict(params), "version": version()}


def _variable(name: str, values: Any, units: Mapping[str, str]) -> xr.Variable:
    if isinstance(values, xr.Variable):
        variable = values.copy(deep=False)
    else:
        values = np.asarray(values)
        layout = next((dims for dims in LAYOUTS if len(dims) == values.ndim), None)
        if layout is None:
            raise DataError(
                f"neural/{name}: {values.ndim} axes cannot be a recording.",
                f"Found shape {values.shape}; expected (time, roi) or (time, y, x).",
                "Name the axes when reading: --axes time,y,x",
            )
        variable = xr.Variable(layout, values)
    variable.attrs = {"units": units.get(name, UNITS.get(name, "a.u.")), "made_by": "source"} | dict(variable.attrs)
    return variable


def _warn_of_few_frames(arrays: Mapping[str, Any]) -> None:
    """Warn of arrays without names of axes that may lie (roi, time)."""
    for name, values in arrays.items():
        shape = np.shape(values)
        if len(shape) == 2 and 0 < shape[0] < shape[1]:
            warnings.warn(
                f"{name}: {shape[0]} x {shape[1]} is taken as {shape[0]} frames of {shape[1]} ROIs. If it lies (roi, time), "
                f'give its transpose; else say so: xarray.Variable(("time", "roi"), {name})',
                stacklevel=3,
            )


def _checked_brain(brain: np.ndarray, variables: Mapping[str, xr.Variable]) -> np.ndarray:
    frames = {variable.shape[1:] for variable in variables.values() if variable.ndim == 3} or {()}
    if frames != {brain.shape} or not brain.any():
        raise DataError(
            "brain: the mask does not fit the frames, or is empty.",
            f"Found shape {brain.shape} with {brain.sum()} pixels inside; frames have {next(iter(frames))}.",
            "Give a mask of the frame's shape, true inside the brain.",
        )
    return brain


def _dataset(variables: Mapping[str, xr.Variable], coords: Mapping[str, Any]) -> xr.Dataset:
    try:
        return xr.Dataset(dict(variables), coords=coords)
    except ValueError as error:
        shapes = ", ".join(f"{name} {variable.shape}" for name, variable in variables.items())
        frames = coords["time"][1].size
        raise DataError(
            "neural: the variables do not share one shape.",
            f"Found {shapes}; {frames} frame times.",
            "Check axes, channels and times.",
        ) from error


def _stimulus_table(columns: Mapping[str, Any]) -> xr.Dataset:
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    if len({array.shape for array in arrays.values()}) > 1 or any(array.ndim != 1 for array in arrays.values()):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(
            "stimulus: the columns differ in length.", f"Found {shapes}.", "Give one value per event in every column."
        )
    return xr.Dataset({name: ("event", array) for name, array in arrays.items()})


def _with_time_indexes(tree: xr.DataTree, path: Path) -> xr.DataTree:
    groups = {}
    for name in sorted(tree.children):  # the file system lists in any order
        dataset = checked(tree.children[name].to_dataset(inherit=False), path, name)
        variables = {key: dataset.variables[key] for key in sorted(dataset.data_vars, key=str)}
        groups[name] = xr.Dataset(variables, dataset.coords, dataset.attrs)
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=tree.attrs)} | groups)
