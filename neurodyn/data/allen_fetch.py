"""Sessions of the Allen Brain Observatory, fetched from the API or, where that fails, from the public S3 copy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from neurodyn.core.errors import DataError, NeurodynError
from neurodyn.data.allen import check_session
from neurodyn.data.allen_catalogue import API, MIRROR, Experiment
from neurodyn.data.download import Link, NoSpaceError

LOGGER = logging.getLogger(__name__)

Progress = Callable[[str, float], None]


def session_path(folder: Path, experiment: int) -> Path:
    """Return where a session's NWB file lies in a folder."""
    return folder / f"{experiment}.nwb"


def fetch_session(
    experiment: Experiment,
    folder: Path,
    link: Link,
    api: str = API,
    mirror: str = MIRROR,
    report: Callable[[int, int | None], None] | None = None,
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


class Tally:
    """Bytes of several downloads, told as one share."""

    def __init__(self, count: int, tell: Progress) -> None:
        self.count, self.tell, self.finished = count, tell, 0
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def of(self, experiment: int) -> Callable[[int, int | None], None]:
        """Return what to call with the bytes of one download."""
        return lambda done, whole: self._set(experiment, done / whole if whole else 0.0)

    def finish(self, experiment: int) -> None:
        """Count a session as finished."""
        self.finished += 1
        self._set(experiment, 1.0)

    def _set(self, experiment: int, share: float) -> None:
        with self._lock:
            self._shares[experiment] = share
            self.tell(f"{self.finished} of {self.count} sessions", sum(self._shares.values()) / self.count)


@contextmanager
def fetching(
    experiments: Sequence[Experiment],
    folder: Path,
    link: Link,
    *,
    api: str = API,
    mirror: str = MIRROR,
    jobs: int = 2,
    tell: Progress = lambda label, share: None,
) -> Iterator[Iterator[tuple[Experiment, Path | NeurodynError]]]:
    """Fetch sessions, several at once; yield each with its file, or with why it could not be had, in the given order.

    Leaving the context ends what is under way; what came is kept for the next time.
    """
    tally = Tally(len(experiments), tell)

    def one(experiment: Experiment) -> Path | NeurodynError:
        try:
            path = fetch_session(experiment, folder, link, api, mirror, tally.of(experiment.id))
        except NeurodynError as error:
            return error
        tally.finish(experiment.id)
        return path

    pool = ThreadPoolExecutor(jobs)
    futures = [pool.submit(one, experiment) for experiment in experiments]
    try:
        yield ((experiment, future.result()) for experiment, future in zip(experiments, futures, strict=True))
    except BaseException:
        link.stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
