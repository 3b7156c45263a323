"""Commands that are killed at any moment, and what they leave."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TIMED = {"provenance.json", "log.jsonl", "report.html", "index.html"}  # they carry times of day, or how long a job took
FOLDERS = {"jobs", "logs", ".snakemake", "checkpoints"}


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "neurodyn", *map(str, args)]


def fingerprint(folder: Path) -> dict[str, str]:
    """Hash every final artefact below a folder; what carries a time of day or is scaffolding stays out."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in TIMED and not p.name.endswith(".lock"))
    kept = (p for p in files if not FOLDERS & set(p.relative_to(folder).parts))
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}


def finish(args: list[str], folder: Path) -> float:
    start = time.perf_counter()
    result = subprocess.run(args, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return time.perf_counter() - start


def kill_after(args: list[str], folder: Path, seconds: float) -> bool:
    """Start a command in its own process group and kill it all after some time; return whether it was still running."""
    process = subprocess.Popen(
        args, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def fresh(folder: Path) -> Path:
    """Empty a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
