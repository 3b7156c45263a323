"""Video files: AVI and MP4, decoded frame by frame in grey. OpenCV lives here."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.extras import require
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.lazy_views import Decoded
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.stacks import OPTIONS, of_array, read_stack

LOGGER = logging.getLogger(__name__)
AVI = (".avi",)
BOXES = (".mp4", ".m4v", ".mov")
DEEP = ("Y1", "Y3", "b16", "b48", "b64")  # FFmpeg's tags of pixel formats with more than 8 bits


class VideoReader(Reader):
    """Reads a video as a grey movie of 8 bits; colour is weighted into luminance."""

    suffixes = (*AVI, *BOXES)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; a video is decoded from its beginning to the frames asked for, so read it forwards.

        Raises
        ------
        DataError
            If the file is truncated, no video, or has more than 8 bits, which the decoder would cut.
        ConfigError
            If OpenCV is not installed.
        """
        refuse_others(options, "video", OPTIONS)
        check_whole(path)
        movie = Video(path)
        return read_stack("video", path, of_array(movie, ("time", "y", "x"), movie.rate_hz), options)


class Video(Decoded):
    """Frames of a video, uint8, shape (time, y, x), decoded when asked for.

    Every frame is reached by decoding those before it: seeking lands on the wrong frame with many encoders.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._next = path, 0
        self._capture = self._open()
        cv2 = require("cv2", "A video")
        count, width, height = (
            int(self._capture.get(prop))
            for prop in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        super().__init__((count, height, width), np.uint8)
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS)) or None
        if min(self.shape) < 1:
            raise _unreadable(path, f"it says it has {count} frames of {height} x {width}")

    def _open(self) -> Any:
        cv2 = require("cv2", "A video")
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise _unreadable(self.path, "no decoder opens it")
        code = int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT))
        tag = code.to_bytes(4, "little", signed=True).decode("latin1")
        if tag.startswith(DEEP):
            raise _unreadable(self.path, f"its pixels ({tag.strip()}) have more than 8 bits, which would be cut off")
        return capture

    def _frame(self, index: int) -> np.ndarray:
        cv2 = require("cv2", "A video")
        if index < self._next:
            self._capture.release()
            self._capture, self._next = self._open(), 0
        there = True
        while there and self._next <= index:
            there, self._next = self._capture.grab(), self._next + 1
        picture = self._capture.retrieve()[1] if there else None
        if picture is None:
            raise _unreadable(self.path, f"frame {self._next - 1} of {self.shape[0]} cannot be decoded")
        return picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


def check_whole(path: Path) -> None:
    """Follow the top-level pieces of a container to the end of the file.

    Raises
    ------
    DataError
        If one reaches beyond it, or the first is no piece of such a container.
    """
    size, position, pieces = path.stat().st_size, 0, set()
    piece = _riff if path.suffix.lower() in AVI else _box
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            name, length = piece(file, size - position)
            if not pieces and name not in (b"RIFF", b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
                raise _unreadable(path, "it does not begin as one")
            position, pieces = position + length, pieces | {name}
            if length < 8 or position > size:
                found = f"its piece {name.decode('latin1')} reaches to byte {position} of {size}"
                raise DataError(f"{path} is truncated.", f"Found: {found}.", "Copy the file again.")
    if not pieces or (piece is _box and b"moov" not in pieces):
        raise _unreadable(path, "it has no index of frames; the recording may have been cut off")


def _riff(file: BinaryIO, rest: int) -> tuple[bytes, int]:
    name, length = file.read(4), int.from_bytes(file.read(4), "little")
    return name, min(8 + length + length % 2, max(rest, 8 + length))


def _box(file: BinaryIO, rest: int) -> tuple[bytes, int]:
    length, name = int.from_bytes(file.read(4), "big"), file.read(4)
    if length == 1:
        length = int.from_bytes(file.read(8), "big")
    return name, length or rest


def _unreadable(path: Path, found: str) -> DataError:
    return DataError(f"{path} cannot be read as video.", f"Found: {found}.", "Copy it again, or export it as TIFF.")
