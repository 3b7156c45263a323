"""HTTP: JSON, and large files that are resumed, checked and only then given their name."""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import http.client
import json
import logging
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

from neurodyn.core.errors import DataError, NeurodynError, WorkError
from neurodyn.core.files import locked, make_folder, remove, write_json

LOGGER = logging.getLogger(__name__)
CHUNK = 256 * 1024
LONGEST_PAUSE_S = 60.0
PASSING = {408, 425, 429, 500, 502, 503, 504}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SAME_COMMAND = "Type the same command again to go on."

Report = Callable[[int, int | None], None]
T = TypeVar("T")


class NoSpaceError(DataError):
    """The disk is full (exit 3)."""


class _PassingError(Exception):
    """A failure that another try may mend; what to raise when none did."""

    def __init__(self, error: NeurodynError, pause: float | None = None) -> None:
        self.error, self.pause = error, pause
        super().__init__(error.what)


@dataclass(frozen=True)
class Link:
    """How to ask for things.

    Parameters
    ----------
    timeout
        Longest wait for a connection and for each piece of a reply, s.
    retries
        How often to try again what may pass.
    pause
        Wait before the second try, s; it doubles with every further one, up to a minute.
    offline
        Refuse to make any request.
    stop
        Set to end downloads under way at their next piece.
    """

    timeout: float = 30.0
    retries: int = 5
    pause: float = 1.0
    offline: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def json(self, url: str) -> Any:
        """Return a JSON reply.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the reply is cut short or is no JSON, or the link is offline.
        """

        def ask() -> Any:
            with self._open(url, {}) as reply:
                body = _read(reply, url)
            try:
                return json.loads(body)
            except ValueError as error:
                what = DataError(f"{url} did not answer in JSON.", f"Found {body[:60]!r}.", "Check the address.")
                raise _PassingError(what) from error

        return self._trying(ask)

    def download(
        self, url: str, target: Path, check: Callable[[Path], None] | None = None, report: Report | None = None
    ) -> Path:
        """Download a file; it appears under its name only when it is whole.

        What came is kept in `target`.part when the connection, the process or the disk gives out, and the same call
        goes on from there if the server still has the same file. Length and, where the server states one, checksum
        are compared.

        Parameters
        ----------
        check
            Raises if a finished file is not what it should be.
        report
            Called with the bytes that are there, and the whole length where it is known.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If length or checksum are wrong, the check fails, the disk is full, or the link is offline.
        """
        make_folder(target.parent)
        part = target.with_name(f"{target.name}.part")
        with locked(target):
            note = self._trying(lambda: _Fetch(self, url, part, report).rest())
            try:
                _compare(note, url, part)
                if check is not None:
                    check(part)
            except DataError:
                discard(part)
                raise
            part.replace(target)
            discard(part)
        return target

    def location(self, url: str) -> str:
        """Return the address that another one leads to, redirections followed.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the link is offline.
        """

        def ask() -> str:
            with self._open(url, {"Range": "bytes=0-0"}) as reply:
                return reply.url

        return self._trying(ask)

    def _open(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        if self.offline:
            raise DataError("--offline allows no request.", f"Needed: {url}", "Type the command without --offline.")
        if not url.startswith(("http://", "https://")):
            raise DataError(f"{url} is no address of a server.", "Expected http:// or https://.", "Mend the address.")
        request = urllib.request.Request(url, headers={"User-Agent": "neurodyn"} | dict(headers))  # noqa: S310
        try:
            return urllib.request.urlopen(request, timeout=self.timeout)  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            what = WorkError(f"{url} refuses.", f"HTTP {error.code}: {error.reason}.", SAME_COMMAND)
            if error.code not in PASSING:
                raise _Refused(what, error.code) from error
            raise _PassingError(what, _seconds(error.headers.get("Retry-After"))) from error
        except (OSError, http.client.HTTPException) as error:
            raise _PassingError(_unreachable(url, error)) from error

    def _trying(self, task: Callable[[], T]) -> T:
        for tries in range(self.retries + 1):
            try:
                return task()
            except _PassingError as passing:
                if tries == self.retries or self.stop.is_set():
                    raise passing.error from passing
                pause = min(LONGEST_PAUSE_S, max(passing.pause or 0.0, self.pause * 2**tries))
                LOGGER.info("%s %s Next try in %.1f s.", passing.error.what, passing.error.found, pause)
                self.stop.wait(pause)
            except _Refused as refused:
                raise refused.error from refused
        raise AssertionError("unreachable")


class _Refused(Exception):  # noqa: N818
    """The server answered, and will not answer otherwise."""

    def __init__(self, error: WorkError, code: int) -> None:
        self.error, self.code = error, code
        super().__init__(error.what)


@dataclass(frozen=True)
class _Note:
    """What a partial file belongs to; kept beside it."""

    url: str
    version: str | None = None
    length: int | None = None
    digest: tuple[str, str] | None = None

    @classmethod
    def beside(cls, part: Path) -> _Note | None:
        try:
            stored = json.loads(_note_path(part).read_text(encoding="utf-8"))
            digest = stored["digest"]
            return cls(stored["url"], stored["version"], stored["length"], tuple(digest) if digest else None)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, part: Path) -> None:
        write_json(_note_path(part), {name: getattr(self, name) for name in ("url", "version", "length", "digest")})


class _Fetch:
    """One try at the rest of a file."""

    def __init__(self, link: Link, url: str, part: Path, report: Report | None) -> None:
        self.link, self.url, self.part, self.report = link, url, part, report

    def rest(self) -> _Note:
        """Fetch what is missing; return what the server said of the whole."""
        note = _Note.beside(self.part)
        done = self.part.stat().st_size if self.part.is_file() and note is not None and note.url == self.url else 0
        if note is None or done == 0 or (note.length is not None and done > note.length):
            note, done = None, 0  # what another server gave stays until this one answers
        if note is not None and done == note.length:
            return note
        try:
            reply = self.link._open(self.url, _range(note, done))
        except _Refused as refused:
            if refused.code != 416 or not done:
                raise
            discard(self.part)  # the server's file is shorter than what came before
            raise _PassingError(refused.error) from refused
        with reply:
            note, done = self._told(reply, note, done)
            self._check_room(note, done)
            self._copy(reply, note, done)
        return note

    def _told(self, reply: http.client.HTTPResponse, note: _Note | None, done: int) -> tuple[_Note, int]:
        """Return what the reply says of the whole file, and from which byte on it comes."""
        if reply.status == 206 and note is not None:
            first, whole = _content_range(reply)
            if first == done and (note.length is None or whole in (None, note.length)):
                return note, done
            discard(self.part)
            what = DataError(f"{self.url} has changed.", f"It has {whole} bytes now.", SAME_COMMAND)
            raise _PassingError(what)
        length = reply.headers.get("Content-Length")
        digest = stated_digest(reply.headers)
        version = reply.headers.get("ETag") or reply.headers.get("Last-Modified")
        note = _Note(self.url, version, int(length) if length else None, digest)
        discard(self.part)
        note.save(self.part)
        return note, 0

    def _check_room(self, note: _Note, done: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if note.length is not None and note.length - done > free:
            raise _full(self.part, f"{note.length - done:,} bytes are missing, {free:,} are free")

    def _copy(self, reply: http.client.HTTPResponse, note: _Note, done: int) -> None:
        with self.part.open("ab") as file:
            while piece := _piece(reply, self.url):
                try:
                    file.write(piece)
                    file.flush()
                except OSError as error:
                    raise _unwritten(self.part, error) from error
                done += len(piece)
                if self.report is not None:
                    self.report(done, note.length)
                if self.link.stop.is_set():
                    raise _PassingError(
                        WorkError(f"{self.url} was interrupted.", f"{done:,} bytes are kept.", SAME_COMMAND)
                    )
        if note.length is not None and done < note.length:
            found = f"Found {done:,} of {note.length:,} bytes; the connection ended early."
            raise _PassingError(DataError(f"{self.url} has the wrong length.", found, SAME_COMMAND))


def discard(part: Path) -> None:
    """Remove a partial file and its note."""
    remove(part)
    remove(_note_path(part))


def stated_digest(headers: Message | Mapping[str, str]) -> tuple[str, str] | None:
    """Return algorithm and hex digits of the checksum a server states for the whole file, or None.

    An ETag is an MD5 sum only where Amazon S3 says it, of objects in one part and not under another key.
    """
    for name, algorithm in (("x-amz-checksum-sha256", "sha256"), ("Content-MD5", "md5")):
        if (stated := headers.get(name)) and (digits := _hex(stated, algorithm)):
            return algorithm, digits
    for entry in (headers.get("Repr-Digest") or headers.get("Digest") or "").split(","):
        name, _, value = entry.strip().partition("=")
        if name.lower() == "sha-256" and (digits := _hex(value.strip(":"), "sha256")):
            return "sha256", digits
    tag = (headers.get("ETag") or "").strip('"')
    amazon = headers.get("Server") == "AmazonS3" and headers.get("x-amz-server-side-encryption") in (None, "AES256")
    if amazon and len(tag) == 32 and all(digit in "0123456789abcdef" for digit in tag):
        return "md5", tag
    return None


def _hex(value: str, algorithm: str) -> str | None:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == hashlib.new(algorithm, usedforsecurity=False).digest_size else None


def _compare(note: _Note, url: str, part: Path) -> None:
    size = part.stat().st_size
    if note.length is not None and size != note.length:
        raise DataError(f"{url} has the wrong length.", f"Found {size:,} of {note.length:,} bytes.", SAME_COMMAND)
    if note.digest is None:
        return
    algorithm, stated = note.digest
    with part.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if found != stated:
        raise DataError(
            f"{url} has the wrong checksum.", f"Found {algorithm} {found}; the server states {stated}.", SAME_COMMAND
        )


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _range(note: _Note | None, done: int) -> dict[str, str]:
    if note is None:
        return {}
    strong = note.version is not None and not note.version.startswith("W/")
    return {"Range": f"bytes={done}-"} | ({"If-Range": str(note.version)} if strong else {})


def _content_range(reply: http.client.HTTPResponse) -> tuple[int | None, int | None]:
    """Return first byte and length of the whole from a Content-Range."""
    unit, _, rest = (reply.headers.get("Content-Range") or "").partition(" ")
    span, _, whole = rest.partition("/")
    first = span.partition("-")[0]
    known = unit == "bytes" and first.isdigit()
    return int(first) if known else None, int(whole) if whole.isdigit() else None


def _piece(reply: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return reply.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(_unreachable(url, error)) from error


def _read(reply: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(_unreachable(url, error)) from error


def _unreachable(url: str, error: Exception) -> WorkError:
    reason = getattr(error, "reason", None) or error
    said = str(reason) or type(error).__name__
    return WorkError(f"{url} cannot be had.", f"{said.rstrip('.')}.", "Check the network. " + SAME_COMMAND)


def _unwritten(part: Path, error: OSError) -> NeurodynError:
    said = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return _full(part, f"The system says: {said}")
    return WorkError(f"Cannot write {part}.", f"The system says: {said}.", "Choose another folder: -o DIR")


def _full(part: Path, found: str) -> NoSpaceError:
    return NoSpaceError(
        f"The disk is full: {part}.", f"{found}; what came is kept.", "Make room, then type the same command again."
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdigit() else None
