"""Several downloads at once, told as one share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from neurodyn.core.errors import NeurodynError
from neurodyn.fetch.download import Link, Report

Progress = Callable[[str, float], None]
T = TypeVar("T")


class Tally:
    """Bytes of several downloads, told as one share.

    Parameters
    ----------
    count
        How many there are.
    noun
        What they are, in the plural.
    tell
        Called with a label and the share that is done, 0 to 1.
    """

    def __init__(self, count: int, noun: str, tell: Progress) -> None:
        self.count, self.noun, self.tell, self.finished = count, noun, tell, 0
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def of(self, which: int) -> Report:
        """Return what to call with the bytes of one download."""
        return lambda done, whole: self._set(which, done / whole if whole else 0.0)

    def finish(self, which: int) -> None:
        """Count a download as finished."""
        self._set(which, 1.0, finished=1)

    def _set(self, which: int, share: float, finished: int = 0) -> None:
        with self._lock:
            self.finished += finished
            self._shares[which] = share
            self.tell(f"{self.finished} of {self.count} {self.noun}", sum(self._shares.values()) / self.count)


@contextmanager
def fetching(
    wanted: Sequence[T],
    fetch: Callable[[T, Report], Path],
    link: Link,
    *,
    noun: str,
    jobs: int = 2,
    tell: Progress = lambda label, share: None,
) -> Iterator[Iterator[tuple[T, Path | NeurodynError]]]:
    """Fetch things, several at once; yield each with its file, or with why it could not be had, in the given order.

    Leaving the context by an error ends what is under way; what came is kept for the next time.

    Parameters
    ----------
    fetch
        Fetches one and returns its file; its second argument is told the bytes that are there.
    noun
        What they are, in the plural.
    tell
        Called with a label and the share of all that is done.
    """
    tally = Tally(len(wanted), noun, tell)

    def one(which: int) -> Path | NeurodynError:
        try:
            path = fetch(wanted[which], tally.of(which))
        except NeurodynError as error:
            return error
        tally.finish(which)
        return path

    pool = ThreadPoolExecutor(jobs)
    futures = [pool.submit(one, which) for which in range(len(wanted))]
    try:
        yield ((each, future.result()) for each, future in zip(wanted, futures, strict=True))
    except BaseException:
        link.stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
