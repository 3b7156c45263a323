"""A real two-photon movie for trying things out, taken from a package in the user's own registry."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from neurodyn.core.errors import WorkError
from neurodyn.core.files import atomic, locked, make_folder, sha256
from neurodyn.core.uv import find_uv

PACKAGE = "optinist==2.4.1"  # GPL-3.0; its wheel carries the data of its tutorial
MEMBER = "sample_data/tutorial/input/sample_mouse2p_image.tiff"
SHA256 = "4859210d5f7f323d4af3470432097dec7b91776a83adae47833525a20f5568b5"
# The file itself is silent; every NWB section of the tutorial's own workflows (sample_data/tutorial/output/*/
# snakemake.yaml in the same wheel) says imaging_rate: 30.0.
RATE_HZ = 30.0
TIMEOUT_S = 900


def tutorial_movie(cache: Path) -> Path:
    """Return OptiNiSt's tutorial movie: mouse two-photon, 2000 frames of 128 x 128 pixels at 30 Hz, uint16 TIFF.

    The first call downloads a package of about 100 MB with uv, from the registry uv is set up for; later calls find the
    movie in the cache and need no network.

    Parameters
    ----------
    cache
        Folder that keeps the movie.

    Raises
    ------
    WorkError
        If the package cannot be had, or the movie in it is not the expected one.
    """
    movie = make_folder(cache) / Path(MEMBER).name
    with locked(movie):
        if not movie.is_file() or sha256(movie) != SHA256:
            with tempfile.TemporaryDirectory(dir=cache, prefix=".optinist-") as folder:
                _install(Path(folder))
                _keep(Path(folder) / MEMBER, movie)
    return movie


def _install(folder: Path) -> None:
    """Unpack the wheel into a folder of its own; nothing of it is imported or built."""
    uv = find_uv("It downloads the sample movie.")
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--python", sys.executable]
    try:
        done = subprocess.run(
            [*command, "--target", str(folder), PACKAGE], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WorkError(
            "The sample movie took too long to download.",
            f"uv had not finished after {TIMEOUT_S // 60} minutes.",
            "Check the network and run the same command again.",
        ) from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"uv ended with code {done.returncode}"
        raise WorkError(
            "The sample movie could not be downloaded.",
            f"uv says: {reason[:300]}",
            "Check the network and uv's registry (UV_DEFAULT_INDEX), then run the same command again.",
        )


def _keep(source: Path, movie: Path) -> None:
    found = sha256(source) if source.is_file() else "no such file"
    if found != SHA256:
        raise WorkError(
            "The downloaded sample movie is not the expected one.",
            f"Found SHA-256 {found[:12]}…; expected {SHA256[:12]}….",
            "Run the same command again; if it repeats, the registry serves another file under this name.",
        )
    with atomic(movie) as temporary:
        shutil.copyfile(source, temporary)
