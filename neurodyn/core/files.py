"""Files that are never half-written: a temporary name beside the target, then one rename."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurodyn.core.errors import ConfigError, DataError, WorkError


def remove(path: Path) -> None:
    """Remove a file or a folder; do nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unwritable(target: Path, error: OSError) -> WorkError:
    """Return what to tell the user where the system refuses to write."""
    return WorkError(
        f"Cannot write {target}.",
        f"The system says: {error.strerror or error}.",
        "Choose a folder you may write to, with space left: -o DIR",
    )


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Tell what the system refuses while `target` is written.

    Raises
    ------
    WorkError
        If it does.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(target, error) from error


ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")


def check_output(output: Path, inputs: Iterable[Path] = (), *, whole: bool = True) -> None:
    """Refuse an output that would spoil what it is made from, or a recording that it would lie inside.

    Parameters
    ----------
    inputs
        What is read. Links are followed.
    whole
        Whether what stands at `output` is replaced as a whole; else files are put beside what is in the folder.

    Raises
    ------
    ConfigError
        If the output is an input, lies inside one or inside any Zarr folder, or, as a whole, takes an input's folder.
    """
    target = output.resolve()
    store = next((folder for folder in target.parents if any((folder / mark).is_file() for mark in ZARR_MARKS)), None)
    if store is None and not whole and any((target / mark).is_file() for mark in ZARR_MARKS):
        store = target
    if store is not None:
        raise _spoils(output, f"{store} is a recording or another Zarr folder, which nothing else may be put into")
    for source in inputs:
        place = source.resolve()
        if target == place:
            raise _spoils(output, f"{source} would overwrite itself")
        if place.is_dir() and target.is_relative_to(place):
            raise _spoils(output, f"it lies inside the input {source}")
        if whole and place.is_relative_to(target):
            raise _spoils(output, f"the input {source} lies inside it, and would be replaced")


def _spoils(output: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{output} cannot be the output.", f"{why[0].upper()}{why[1:]}.", "Choose another place: -o PATH"
    )


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises
    ------
    WorkError
        If the system does not allow it.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(target: Path, *, wait: float = math.inf) -> Iterator[int]:
    """Hold the only writer's lock on a target.

    The system releases the lock when its holder dies, however it dies. The lock's file says who holds it.

    Parameters
    ----------
    wait
        Seconds to wait for another process that holds it, before refusing.

    Yields
    ------
    int
        File descriptor of the lock; a process that inherits it holds the lock, too, as long as it lives.

    Raises
    ------
    ConfigError
        If another process holds it for longer.
    """
    make_folder(target.parent)
    lock = lock_of(target)
    while True:
        with writing(target):
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        if not _taken(handle, wait):
            os.close(handle)
            raise ConfigError(
                f"{target} is being written by another process.",
                f"Held by {_holder(lock)}.",
                "Wait until it ends, or choose another folder: -o DIR",
            )
        if lock.exists() and os.fstat(handle).st_ino == lock.stat().st_ino:
            break
        os.close(handle)  # the previous holder removed the file we waited on
    try:
        with contextlib.suppress(OSError):  # a full disk does not unlock
            os.truncate(handle, 0)
            os.pwrite(handle, _signature().encode(), 0)
        yield handle
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)


def is_locked(target: Path) -> bool:
    """Say whether another process holds the lock on a target."""
    try:
        handle = os.open(lock_of(target), os.O_RDWR)
    except OSError:
        return False
    try:
        return not _taken(handle, 0)
    finally:
        os.close(handle)


def lock_of(target: Path) -> Path:
    """Return the file that is locked for a target; it is there while somebody holds the lock, or died holding it."""
    return target.parent / f".{target.name}.lock"


def _taken(handle: int, wait: float) -> bool:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait == math.inf else fcntl.LOCK_NB))
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def _signature() -> str:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"process {os.getpid()} on {platform.node()} since {since}"


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8").strip() or "a process that has not signed yet"
    except OSError:
        return "a process that has just ended"


@contextlib.contextmanager
def atomic(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    target
        The final path; whatever stands there is replaced in one rename.
    folder
        Yield an existing empty folder instead of a path to write a file at.

    Raises
    ------
    WorkError
        If the system refuses to write: no permission, no space, not a folder.
    """
    make_folder(target.parent)
    prefix = f".{target.name}.partial-"
    with writing(target):
        temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    product = temporary / target.name
    try:
        if folder:
            product.mkdir()
        yield product
        replace(product, target)
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(temporary)):
            raise
        raise unwritable(target, error) from error
    finally:
        _vanish(temporary)


def _vanish(folder: Path) -> None:
    """Remove a folder into which threads may still be writing, which did not hear of another one's failure."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.02)


def replace(product: Path, target: Path) -> None:
    """Put a finished file or folder in the place of `target`."""
    if target.is_dir() and not target.is_symlink():
        old = product.parent / "replaced"
        target.rename(old)
    product.replace(target)


def clear_partials(target: Path) -> None:
    """Remove what killed writers of `target` left beside it. Call it under `locked`."""
    if target.parent.is_dir():
        for stale in target.parent.glob(f".{target.name}.partial-*"):
            remove(stale)


def beside(source: Path, name: str) -> Path | None:
    """Return a file named as given, or lying beside the source; None where there is none."""
    return next((place for place in (Path(name), source.parent / name) if place.is_file()), None)


def write_json(target: Path, value: Any) -> None:
    """Write JSON atomically: indented, keys in the order given."""
    with atomic(target) as path:
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises
    ------
    DataError
        If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "Expected a JSON file there.", "Run the earlier stage again.") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON.", str(error), "Run the stage that wrote it again.") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's sorted relative paths and contents, as hex digits."""
    import hashlib  # slow to import

    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        lines = (f"{p.relative_to(path).as_posix()} {sha256(p)}" for p in files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
