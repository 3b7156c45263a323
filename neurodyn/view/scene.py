"""`Scene`: what a window shows of a source, found without reading more of it than its tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions
from neurodyn.runs.folder import RunFolder
from neurodyn.view.averages import averages
from neurodyn.view.cells import Masks, column, masks_of, names_of_cells, quality, sizes
from neurodyn.view.frames import UNCHUNKED, Frames, Levels, Movie, levels
from neurodyn.view.projections import KINDS, projections
from neurodyn.view.traces import Traces
from neurodyn.view.tuning import Tuning

MODEL = "model"
ORDER = ("fluorescence", "neuropil", "corrected", "dff", "spikes", MODEL)
FIRST = ("dff", "corrected", "fluorescence", "spikes")  # what a cell is judged by, best first


@dataclass(frozen=True)
class Scene:
    """A recording, and what goes with it.

    Parameters
    ----------
    recording
        Whose cells, traces, stimuli and pictures are shown.
    movies
        Name -> movie: its own ones, that of another recording, that of a model.
    model
        What a run's model says of the traces, shape (time, roi); None without.
    where
        For the page: what was opened.
    tuning
        What `neurodyn respond` found of the cells; None without.
    """

    recording: Recording
    movies: dict[str, Movie]
    model: xr.Variable | None = None
    where: str = ""
    frames: Frames = field(default_factory=Frames)
    tuning: Tuning | None = None

    @property
    def log(self) -> Path:
        """Where the curation is written unless told otherwise: cells.csv beside the recording."""
        place = self.recording.path or (Path(self.where) if self.where else None)
        return Path("cells.csv").resolve() if place is None else place.resolve().with_name("cells.csv")

    @cached_property
    def time(self) -> np.ndarray:
        """Frame times in seconds, shape (time,)."""
        return self.recording.time

    @cached_property
    def stimulus(self) -> xr.Dataset | None:
        """Stimulus events in memory, one row each; None without."""
        return None if self.recording.table("stimulus") is None else self.recording.stimulus.load()

    @cached_property
    def cells(self) -> list[str]:
        """Ids of the cells."""
        return names_of_cells(self.recording)

    @cached_property
    def masks(self) -> Masks | None:
        """Pixels of the cells."""
        return masks_of(self.recording)

    @cached_property
    def traces(self) -> Traces:
        """Traces of the cells by variable, in the order in which they are shown."""
        neural = self.recording.neural
        found = {str(name): array.variable for name, array in neural.data_vars.items() if array.dims == ("time", "roi")}
        if self.model is not None:
            found[MODEL] = self.model
        rank = {name: place for place, name in enumerate(ORDER)}
        return Traces(
            {name: found[name] for name in sorted(found, key=lambda name: rank.get(name, 2.5))}, self.recording.time
        )

    @property
    def judged(self) -> str | None:
        """The variable by which cells are judged and averaged first; None without traces."""
        names = list(self.traces.variables)
        return next((name for name in FIRST if name in names), names[0] if names else None)

    @cached_property
    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures that preprocessing left: name -> shape (y, x)."""
        seen = self.recording.table("qc")
        found = {} if seen is None else {str(name): array for name, array in seen.data_vars.items()}
        # a picture of one grey, as of saturated pixels where there are none, shows nothing
        images = {
            name: array for name, array in found.items() if array.dims == ("y", "x") and array.dtype.kind in "iuf"
        }
        read = {name: array.values for name, array in images.items() if np.ptp(array.values) != 0}
        return dict(sorted(read.items(), key=lambda item: item[0] != "mean_image"))

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the plane in which cells lie, in pixels; (0, 0) where nothing lies anywhere."""
        shapes = [picture.shape for picture in self.pictures.values()]
        shapes += [movie.variable.shape[1:] for movie in self.movies.values()]
        if shapes:
            return shapes[0][0], shapes[0][1]
        places = [column(self.recording, name) for name in ("y", "x")]
        if self.masks is not None:
            places = [self.masks.y, self.masks.x]
        rows, columns = (int(np.nanmax(each)) + 4 if np.isfinite(each).any() else 0 for each in places)
        return rows, columns

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """Columns of the list of cells, each shape (roi,), NaN where unknown: y, x, size, snr, skew."""
        found = {name: column(self.recording, name) for name in ("y", "x", "snr", "skew")}
        return found | {"size": sizes(self.recording, self.masks)}

    @cached_property
    def quality(self) -> dict[str, np.ndarray]:
        """`snr` and `skew` as the table of ROIs has them, else of the variable by which cells are judged; shape (roi,)."""
        told = {name: self.table[name] for name in ("snr", "skew")}
        if self.judged is None or all(np.isfinite(values).all() for values in told.values()):
            return told
        made = quality(self.traces.variables[self.judged])
        return {name: np.where(np.isfinite(values), values, made[name]) for name, values in told.items()}

    @cached_property
    def _projected(self) -> dict[str, dict[str, np.ndarray]]:
        return {}

    def projection(self, name: str, kind: str) -> np.ndarray:
        """Return a projection of a movie, shape (y, x); computed once."""
        if name not in self._projected:
            self._projected[name] = projections(self.movies[name])
        return self._projected[name][kind]

    def picture(self, name: str, at: float = 0.0) -> tuple[np.ndarray, int]:
        """Return a picture by its name, and which frame it is.

        Parameters
        ----------
        name
            "frame/MOVIE", "mean/MOVIE", "maximum/MOVIE", "correlation/MOVIE" or "qc/NAME".
        at
            Time of the frame, s.

        Raises
        ------
        DataError
            If there is none of that name.
        """
        kind, _, which = name.partition("/")
        if kind == "frame" and which in self.movies:
            index = self.movies[which].index(at)
            return self.frames.frame(self.movies[which], index), index
        if kind in KINDS and which in self.movies:
            return self.projection(which, kind), -1
        if kind == "qc" and which in self.pictures:
            return self.pictures[which], -1
        raise DataError(
            f"There is no picture '{name}'.", f"Found: {', '.join(self.picture_names)}.", "Choose one of these."
        )

    @property
    def picture_names(self) -> list[str]:
        """Names of all pictures, the first to be shown first."""
        kinds = ("frame", *KINDS)
        return [f"{kind}/{name}" for name in self.movies for kind in kinds] + [f"qc/{name}" for name in self.pictures]

    def levels(self, name: str) -> Levels:
        """Choose black and white of a picture; of a movie one choice for all frames, from ten of its first block."""
        kind, _, which = name.partition("/")
        if kind != "frame" or which not in self.movies:
            return levels(self.picture(name)[0])
        movie = self.movies[which]
        frames = range(0, min(movie.length, movie.time.size), max(1, movie.length // 10))
        return levels(np.stack([self.frames.frame(movie, index) for index in frames]))

    def averages(self, row: int, variable: str, name: str) -> dict[str, Any]:
        """Return event averages of one cell."""
        if self.stimulus is None or name not in self.stimulus:
            raise DataError(f"There is no stimulus column '{name}'.", "", "Choose another one.")
        return averages(self.traces.trace(variable, row), self.time, self.stimulus, name)


def open_scene(
    source: Path, options: ReadOptions | None = None, reader: str | None = None, movie: Path | None = None
) -> Scene:
    """Open a recording, a run folder, or anything else that neurodyn reads.

    Parameters
    ----------
    movie
        Another source, whose movie is shown under the cells.

    Raises
    ------
    NeurodynError
        If it cannot be read, or the movie does not fit.
    """
    if RunFolder(source).begun:
        scene = _of_run(RunFolder(source))
    else:
        scene = scene_of(_read(source, options, reader), str(source))
    return scene if movie is None else _with_movie(scene, movie, options)


def scene_of(recording: Recording, where: str = "") -> Scene:
    """Return the scene of a recording."""
    return Scene(recording, movies_of(recording), where=where)


def with_tuning(scene: Scene, responses: Path) -> Scene:
    """Return the scene with what `neurodyn respond` found of its cells.

    Raises
    ------
    DataError
        If it is not of these cells.
    """
    return replace(scene, tuning=Tuning.of(responses, scene.recording))


def movies_of(recording: Recording) -> dict[str, Movie]:
    """Return a recording's movies by name."""
    arrays = {
        str(name): array for name, array in recording.neural.data_vars.items() if array.dims == ("time", "y", "x")
    }
    return {
        name: Movie(name, array.variable, recording.time, _chunk(recording, name)) for name, array in arrays.items()
    }


def _chunk(recording: Recording, name: str) -> int:
    if recording.path is None:
        return UNCHUNKED
    return int(zarr.open_array(recording.path / "neural" / name, mode="r").chunks[0])


def _read(source: Path, options: ReadOptions | None, reader: str | None) -> Recording:
    from neurodyn.readers.read import read

    return read(source, options, reader)


def _of_run(run: RunFolder) -> Scene:
    """Open the first recording of a run, with its model's prediction where there is one."""
    from neurodyn.runs.folder import PREDICTION
    from neurodyn.runs.prediction import Prediction
    from neurodyn.runs.windows import open_recordings
    from neurodyn.view.model import model_variable

    if not (run.path / PREDICTION).is_dir():
        return scene_of(open_recordings(run, run.inputs)[0], str(run.path))
    prediction = Prediction.open(run)
    recording = prediction.recordings()[0]
    scene, said = scene_of(recording, str(run.path)), model_variable(prediction, 0)
    if said is None or said.ndim == 2:
        return replace(scene, model=said)
    return replace(scene, movies=scene.movies | {MODEL: Movie(MODEL, said, recording.time)})


def _with_movie(scene: Scene, source: Path, options: ReadOptions | None) -> Scene:
    found = movies_of(_read(source, options, None))
    if not found:
        raise ConfigError(f"{source} has no movie.", "Expected one under the cells: --movie", "Name a movie.")
    name, movie = next(iter(found.items()))
    if 0 not in scene.shape and movie.variable.shape[1:] != scene.shape and (scene.pictures or scene.movies):
        raise DataError(
            f"{source} is not the movie of these cells.",
            f"Its frames are {movie.variable.shape[1:]}; the cells lie in {scene.shape}.",
            "Name the movie that they were found in: --movie MOVIE",
        )
    return replace(scene, movies={name: movie} | scene.movies)
