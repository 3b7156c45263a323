"""The contract of an evaluation: what it opens, what it scores, and how its table is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score
from neurodyn.evaluate.inferred import Inferred, open_inferred

if TYPE_CHECKING:
    from neurodyn.training.run import Run

EVERY = "every dataset"  # the session of a row over all of them
MINUS = " minus "  # between the features of a paired difference

Source = TypeVar("Source")


class Evaluation(ABC, Generic[Source]):
    """One question asked of recordings, of what models inferred from them, or of models.

    Reading and writing tables, and drawing them, live elsewhere. The first line of a class's docstring is its summary.

    Parameters
    ----------
    config
        An instance of the class's `Config`.

    Attributes
    ----------
    name
        Its name in the registry, and in the record beside its table.
    takes
        What folders are searched for: "recordings", or "runs", for which recordings may stand in.
    figure
        Name of what draws its page in the report; "" for a figure and a table of any scores.
    labels
        Titles of its metrics in such tables; a metric without one is its own.
    details
        Start of the names of metrics that stand in a table of their own -> that table's caption.
    digits
        Decimals in such tables.
    by_signal
        Whether signals of one run have rows of their own there.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Params]]
    takes: ClassVar[Literal["recordings", "runs"]] = "runs"
    figure: ClassVar[str] = ""
    labels: ClassVar[Mapping[str, str]] = {}
    details: ClassVar[Mapping[str, str]] = {}
    digits: ClassVar[int] = 3
    by_signal: ClassVar[bool] = False

    config: Params

    def __init__(self, config: Params) -> None:
        self.config = config

    @abstractmethod
    def open(self, paths: Sequence[Path]) -> Sequence[Source]:
        """Open what is to be scored.

        Raises
        ------
        DataError
            If a path is not what this evaluation takes.
        """

    @abstractmethod
    def score(self, sources: Sequence[Source]) -> Iterable[Score]:
        """Return the rows of the table.

        Raises
        ------
        DataError, ConfigError
            If a source does not hold what is scored, saying what it needs.
        """

    @abstractmethod
    def record(self, sources: Sequence[Source]) -> dict[str, Any]:
        """Return what the record beside the table says of the sources; always their `recordings`."""

    @classmethod
    def label(cls, metric: str) -> str:
        """Return a metric's title in a table."""
        return cls.labels.get(metric, metric)


class RecordingEvaluation(Evaluation[Recording]):
    """Asks something of recordings, whatever made their variables."""

    takes = "recordings"

    def open(self, paths: Sequence[Path]) -> Sequence[Recording]:
        """Open recordings."""
        return [Recording.open(path) for path in paths]

    def record(self, sources: Sequence[Recording]) -> dict[str, Any]:
        """Return the recordings' paths."""
        return {"recordings": [str(recording.path) for recording in sources]}


class PredictionEvaluation(Evaluation[Inferred]):
    """Asks something of what models inferred, session by session."""

    def open(self, paths: Sequence[Path]) -> Sequence[Inferred]:
        """Open runs with a prediction, whether their recordings have ground truth or not."""
        return open_inferred(paths, truth=False)

    def record(self, sources: Sequence[Inferred]) -> dict[str, Any]:
        """Return the recordings' paths, and what each run is one draw of."""
        named = [
            {
                "path": str(one.path),
                "session": one.recording.session,
                "dataset": one.dataset,
                "model": one.model,
                "seed": one.seed,
            }
            for one in sources
        ]
        return {"recordings": sorted({str(one.recording.path) for one in sources}), "sources": named}


class ModelEvaluation(Evaluation["Run"]):
    """Asks something of trained models, on the windows of their training recordings."""

    def open(self, paths: Sequence[Path]) -> Sequence[Run]:
        """Open finished runs."""
        from neurodyn.training.run import load_run

        return [load_run(path) for path in paths]

    def record(self, sources: Sequence[Run]) -> dict[str, Any]:
        """Return the paths of the recordings that the models were trained on."""
        return {"recordings": sorted({str(path) for run in sources for path in run.recordings}), "sources": []}
