"""Writers of small files in formats that neurodyn only reads; the layouts are those their programs write."""

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import scipy.io
import scipy.sparse

SEGMENT = 4096


def scanbox(path: Path, movie: np.ndarray, **info: Any) -> Path:
    """Write a Scanbox movie, shape (time, y, x) or (time, y, x, channel), uint16; light is stored inverted."""
    frames = movie if movie.ndim == 4 else movie[..., None]
    (np.uint16(65535) - frames).astype("<u2").tofile(path)
    lines = frames.shape[1] // (1 if info.get("scanmode", 1) else 2)
    known = {"sz": np.array(frames.shape[1:3]), "recordsPerBuffer": lines, "channels": 1 if frames.shape[3] == 2 else 2}
    scipy.io.savemat(path.with_suffix(".mat"), {"info": known | {"resfreq": 20.0 * lines, "scanmode": 1} | info})
    return path


def caiman(path: Path, c: np.ndarray, footprints: Any = None, **estimates: Any) -> Path:
    """Write CaImAn estimates, traces of shape (component, time); footprints (pixel, component) sit on a 10 x 12 picture."""
    count = len(c)
    if footprints is None:
        place = np.arange(count) % 10 + 10 * (np.arange(count) // 10)
        footprints = scipy.sparse.csc_matrix((np.ones(count), (place, np.arange(count))), shape=(120, count))
    footprints = scipy.sparse.csc_matrix(footprints)
    with h5py.File(path, "w") as file:
        group = file.create_group("estimates")
        for name, value in {
            "C": c,
            "F_dff": "NoneType",
            "idx_components": "NoneType",
            "dims": (10, 12),
            **estimates,
        }.items():
            group[name] = value
        place = group.create_group("A")
        for name in ("data", "indices", "indptr", "shape"):
            place[name] = getattr(footprints, name)
        file["params/data/fr"] = 20.0
    return path


def video(path: Path, movie: np.ndarray, codec: str = "FFV1", fps: float = 20.0) -> Path:
    """Write a grey video, uint8, shape (time, y, x)."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, movie.shape[:0:-1], isColor=False)
    for frame in movie:
        writer.write(frame)
    writer.release()
    return path


def nd2(
    path: Path,
    movie: np.ndarray,
    period_ms: float,
    loops: tuple[tuple[str, int], ...] | None = None,
    zip_: bool = False,
) -> Path:
    """Write an ND2 file, version 3, shape (frame, y, x, channel), uint16; `loops` from the outermost, "T" or "Z"."""
    count, height, width, channels = movie.shape
    attributes = {
        "uiWidth": width,
        "uiHeight": height,
        "uiWidthBytes": width * 2 * channels,
        "uiComp": channels,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 16,
        "uiSequenceCount": count,
        "eCompression": 0 if zip_ else 2,
    }
    planes = {f"a{k}": {"uiCompCount": 1, "sDescription": f"c{k}"} for k in range(channels)}
    metadata = {"sPicturePlanes": {"uiCount": channels, "uiCompCount": channels, "sPlaneNew": planes}}
    chunks = {
        "ImageAttributesLV!": _level({"SLxImageAttributes": attributes}),
        "ImageMetadataSeqLV|0!": _level({"SLxPictureMetadata": metadata}),
        "ImageMetadataLV!": _level({"SLxExperiment": _experiment(loops or (("T", count),), period_ms)}),
    }
    for k, frame in enumerate(movie):
        data = frame.astype("<u2").tobytes()
        chunks[f"ImageDataSeq|{k}!"] = struct.pack("<d", k * period_ms) + (zlib.compress(data) if zip_ else data)
    path.write_bytes(_nd2_file(chunks))
    return path


def _experiment(loops: tuple[tuple[str, int], ...], period_ms: float) -> dict[str, Any]:
    (kind, count), *inner = loops
    if kind == "T":
        pars: dict[str, Any] = {"uiCount": count, "dStart": 0.0, "dPeriod": period_ms, "dDuration": period_ms * count}
    else:
        pars = {"uiCount": count, "dZStep": 1.0, "iType": 0, "dZLow": 0.0, "dZHigh": 1.0, "dZHome": 0.0}
        pars |= {"bAbsolute": 0, "dReferencePosition": 0.0}
    level = {"eType": {"T": 1, "Z": 4}[kind], "uLoopPars": pars}
    return level | ({"ppNextLevelEx": {"": _experiment(tuple(inner), period_ms)}} if inner else {})


def _level(values: dict[str, Any]) -> bytes:
    """Encode nested values in Nikon's lite variant."""
    out = b""
    for name, value in values.items():
        label = f"{name}\0".encode("utf-16-le")
        kind, body = _variant(value, len(label) + 2)
        out += struct.pack("BB", kind, len(name) + 1) + label + body
    return out


def _variant(value: Any, before: int) -> tuple[int, bytes]:
    if isinstance(value, dict):
        inside = _level(value)
        head = struct.pack("<IQ", len(value), before + 12 + len(inside))
        return 11, head + inside + bytes(8 * len(value))
    if isinstance(value, float):
        return 6, struct.pack("<d", value)
    if isinstance(value, str):
        return 8, f"{value}\0".encode("utf-16-le")
    return 3, struct.pack("<I", value)


def _nd2_chunk(name: str, data: bytes) -> bytes:
    label = name.encode()
    room = SEGMENT - 24  # names are padded so that pixels, after an 8-byte time, begin on a segment
    return struct.pack("<IIQ", 0x0ABECEDA, room, len(data)) + label.ljust(room, b"\0") + data


def _nd2_file(chunks: dict[str, bytes]) -> bytes:
    signature, data = b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0")
    out = bytearray(struct.pack("<IIQ", 0x0ABECEDA, 32, 64) + signature + data)
    table = b""
    for name, data in chunks.items():
        out += bytes(-len(out) % SEGMENT)
        table += name.encode() + struct.pack("<QQ", len(out), len(data))
        out += _nd2_chunk(name, data)
    place = len(out)
    table += b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", place)
    out += struct.pack("<IIQ", 0x0ABECEDA, 32, len(table)) + b"ND2 FILEMAP SIGNATURE NAME 0001!" + table
    return bytes(out)
