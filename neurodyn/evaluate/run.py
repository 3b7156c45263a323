"""Ask a question of sources, and write the table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurodyn.core.files import clear_partials, locked, write_json
from neurodyn.core.provenance import version
from neurodyn.data.scores import write_scores
from neurodyn.evaluate.base import Evaluation


def evaluate(evaluation: Evaluation[Any], paths: Sequence[Path], out: Path) -> Path:
    """Score sources, and write one table.

    Parameters
    ----------
    evaluation
        What is asked.
    paths
        What it is asked of: recordings or run folders, as the evaluation takes.
    out
        Folder for scores.csv and, beside it, evaluate.json: what was scored, and how.

    Returns
    -------
    pathlib.Path
        The table of scores.

    Raises
    ------
    DataError, ConfigError
        If a source cannot be scored; nothing is written then.
    """
    sources = evaluation.open(paths)
    scores = list(evaluation.score(sources))
    made = {
        "metric": evaluation.name,
        **evaluation.record(sources),
        "version": version(),
        "config": evaluation.config.model_dump(mode="json"),
    }
    table = out / "scores.csv"
    with locked(table):
        clear_partials(table)
        write_json(out / "evaluate.json", made)
        return write_scores(table, scores)
