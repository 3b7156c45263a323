"""Sessions of the Allen Brain Observatory, fetched from the API or, where that fails, from the public S3 copy."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from neurodyn.core.errors import DataError, NeurodynError
from neurodyn.fetch import transfers
from neurodyn.fetch.catalogue import API, MIRROR, Experiment
from neurodyn.fetch.download import Link, NoSpaceError, Report
from neurodyn.fetch.transfers import Progress
from neurodyn.readers.allen.reader import check_session

LOGGER = logging.getLogger(__name__)


def session_path(folder: Path, experiment: int) -> Path:
    """Return where a session's NWB file lies in a folder."""
    return folder / f"{experiment}.nwb"


def fetch_session(
    experiment: Experiment,
    folder: Path,
    link: Link,
    api: str = API,
    mirror: str = MIRROR,
    report: Report | None = None,
) -> Path:
    """Return a session's NWB file, fetched unless it is there.

    Raises
    ------
    WorkError
        If neither server can be had.
    DataError
        If what came is not the session, the disk is full, or the file must be asked for and the link is offline.
    """
    target = session_path(folder, experiment.id)
    if is_sound(target, experiment.id):
        return target
    if link.offline:
        raise DataError(
            f"Experiment {experiment.id} is not in the cache.",
            f"Expected {target}; --offline allows no request.",
            "Type the command once without --offline.",
        )
    places = [f"{api}{experiment.link}"] if experiment.link else []
    places.append(f"{mirror}/ophys_experiment_data/{experiment.id}.nwb")
    for place in places[:-1]:
        try:
            return link.download(place, target, lambda path: check_session(path, experiment.id), report)
        except NoSpaceError:
            raise
        except NeurodynError as error:
            if link.stop.is_set():
                raise
            LOGGER.warning("%s %s The public S3 copy is asked instead.", error.what, error.found)
    return link.download(places[-1], target, lambda path: check_session(path, experiment.id), report)


def is_sound(path: Path, experiment: int) -> bool:
    """Say whether a session is there; another file under its name is told of, for it will be fetched again."""
    if not path.is_file():
        return False
    try:
        check_session(path, experiment)
    except DataError as error:
        LOGGER.warning("%s %s It is fetched again.", error.what, error.found)
        return False
    return True


def fetching(
    experiments: Sequence[Experiment],
    folder: Path,
    link: Link,
    *,
    api: str = API,
    mirror: str = MIRROR,
    jobs: int = 2,
    tell: Progress = lambda label, share: None,
) -> AbstractContextManager[Iterator[tuple[Experiment, Path | NeurodynError]]]:
    """Fetch sessions, several at once, as `neurodyn.fetch.transfers.fetching` does."""

    def fetch(experiment: Experiment, report: Report) -> Path:
        return fetch_session(experiment, folder, link, api, mirror, report)

    return transfers.fetching(experiments, fetch, link, noun="sessions", jobs=jobs, tell=tell)
