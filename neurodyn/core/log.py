"""Logging: JSON lines to a file; the console's handler is the command line's business."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from neurodyn.core.files import unwritable, writing

LOGGER = logging.getLogger("neurodyn")
Report = Callable[[str, float], None]  # told what is being done, and the share of it that is


def silent(label: str, share: float) -> None:
    """Tell nobody."""


def nobody(share: float) -> None:
    """Tell nobody, where only the share is told."""


def within(progress: Report, number: int, count: int) -> Report:
    """Return who is told the share of one of several equal parts, as that of all."""
    return lambda label, share: progress(label, (number + share) / count)


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, message and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "fields", {}), default=str)


class LogFile(logging.FileHandler):
    """A log on disk; a full disk is an error as it is for every product, not a traceback among the messages."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Raise what kept the record from the disk."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise unwritable(Path(self.baseFilename), error) from error
        super().handleError(record)

    def close(self) -> None:
        """Close; what could not be written has been told."""
        with contextlib.suppress(OSError):
            super().close()


def log_to(path: Path) -> logging.Handler:
    """Append neurodyn's log to a file as JSON lines; return the handler so that the caller can remove it.

    Raises
    ------
    WorkError
        If the system refuses to write it; also later, when a record is logged.
    """
    with writing(path):
        handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(JsonLines())
    LOGGER.addHandler(handler)
    return handler
