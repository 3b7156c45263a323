"""A file on a server, read as one of this machine; only what is read travels."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from neurodyn.core.errors import NeurodynError, WorkError
from neurodyn.core.extras import require
from neurodyn.fetch.download import Link

LINK_LASTS_S = 600.0  # links to the archive's storage expire after an hour


class Place:
    """An address that leads to another one for a while; remfile asks for it before every request."""

    def __init__(self, link: Link, url: str) -> None:
        self.link, self.url, self.found, self.since = link, url, "", 0.0

    def get_url(self) -> str:
        """Return where the file lies now."""
        if not self.found or time.monotonic() - self.since >= LINK_LASTS_S:
            self.found, self.since = self.link.location(self.url), time.monotonic()
        return self.found


class Remote:
    """A file on a server, as h5py reads one.

    Parameters
    ----------
    path
        What it is called in messages.
    size
        Bytes.
    timeout
        How long a server may be silent, s.
    """

    def __init__(self, url: Place, path: str, size: int, timeout: float) -> None:
        self.path, self.file = path, require("remfile", "Streaming").File(url, _size=size)
        session: Any = self.file.session
        session.request = partial(session.request, timeout=timeout)  # remfile would wait forever

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        try:
            return self.file.read(size)
        except NeurodynError:
            raise
        except Exception as error:  # remfile has no exceptions of its own
            raise WorkError(
                f"{self.path} cannot be streamed any further.", f"{error}.", "Type the same command again."
            ) from error

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place and return it."""
        self.file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """Return the place from which is read next."""
        return self.file.tell()
