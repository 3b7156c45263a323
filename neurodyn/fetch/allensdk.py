"""The Allen Institute's own SDK as a second way to sessions, in an environment of its own.

The SDK needs an old numpy and cannot live in one environment with neurodyn. uv makes it one, from the header of
`isolated/allensdk_worker.py`; requests, answers and arrays go through files. Nothing of the SDK is part of neurodyn.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodyn.core.errors import ConfigError, DataError, NeurodynError, WorkError
from neurodyn.core.files import locked, make_folder, read_json, write_json
from neurodyn.core.uv import find_uv
from neurodyn.fetch.allen import is_sound, session_path
from neurodyn.fetch.catalogue import API, Experiment, kept_catalogue
from neurodyn.readers.allen.nwb1 import metadata_of
from neurodyn.readers.allen.reader import check_session
from neurodyn.readers.allen.session import Course, Session, recording_of
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.options import ReadOptions

WORKER = Path(__file__).parent / "isolated" / "allensdk_worker.py"
LOG = "allensdk.log"
TRACES = ("dff", "corrected", "demixed", "neuropil", "fluorescence")


def ask(request: dict[str, Any], folder: Path, offline: bool = False) -> dict[str, Any]:
    """Have the worker answer a request.

    Parameters
    ----------
    folder
        Where request and answer lie; the worker's log stays beside it when it fails.
    offline
        Let uv make no request: its cache must hold the SDK.

    Raises
    ------
    WorkError
        If the SDK's environment cannot be made, or the worker ends without an answer.
    """
    request_path, answer_path, log = folder / "request.json", folder / "answer.json", folder / LOG
    answer_path.unlink(missing_ok=True)
    write_json(request_path, request)
    command = [find_uv("It makes the SDK's environment."), "run", *(["--offline"] if offline else [])]
    command += ["--python", "3.11", "--script", str(WORKER), str(request_path), str(answer_path)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with log.open("ab") as output:
        code = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False).returncode
    if code or not answer_path.is_file():
        kept = log.replace(folder.parent / LOG)
        raise WorkError(
            "The Allen SDK did not answer.",
            f"uv ended with code {code}; {kept} says why.",
            "Check the network and uv's registry, or leave --backend allensdk out.",
        )
    return read_json(answer_path)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=make_folder(folder), prefix=".allensdk-") as scratch:
        yield Path(scratch)


def catalogue_by_sdk(cache: Path, api: str = API, refresh: bool = False) -> None:
    """Have the SDK ask for the catalogue and keep it in the cache, unless it is there.

    Raises
    ------
    WorkError
        If it cannot be had.
    """
    kept = kept_catalogue(cache)
    if kept.is_file() and not refresh:
        return
    with _scratch(cache) as scratch:
        answer = ask({"cache": str(scratch), "api": api, "catalogue": True}, scratch)
        _raise(answer["catalogue"], "The Allen SDK could not get the catalogue.")
        write_json(kept, read_json(scratch / kept.name))


def fetch_by_sdk(
    experiments: Sequence[Experiment], folder: Path, api: str = API, offline: bool = False
) -> Iterator[tuple[Experiment, Path | NeurodynError]]:
    """Yield each session with its NWB file, downloaded by the SDK unless it is there, or with why it could not be had.

    What the SDK downloads is checked before it gets its name: the SDK itself takes cut files for whole ones.

    Raises
    ------
    WorkError
        If the SDK's environment cannot be made.
    """
    make_folder(folder)
    missing = [one.id for one in experiments if not is_sound(session_path(folder, one.id), one.id)]
    with _scratch(folder) as scratch:
        request = {"cache": str(scratch), "api": api, "experiments": missing}
        answer = ask(request, scratch) if missing and not offline else {"downloads": {}}
        for one in experiments:
            try:
                yield one, _taken(one.id, folder, answer["downloads"].get(str(one.id)), one.id in missing)
            except NeurodynError as error:
                yield one, error


def _taken(experiment: int, folder: Path, answer: dict[str, str] | None, missing: bool) -> Path:
    target = session_path(folder, experiment)
    if not missing:
        return target
    if answer is None:
        raise DataError(
            f"Experiment {experiment} is not in the cache.",
            f"Expected {target}; --offline allows no request.",
            "Type the command once without --offline.",
        )
    _raise(answer, f"The Allen SDK could not get experiment {experiment}.")
    found = Path(answer["result"])
    check_session(found, experiment)
    with locked(target):
        found.replace(target)
    return target


def _raise(answer: dict[str, str], what: str) -> None:
    if "error" in answer:
        raise WorkError(what, answer["error"], "Leave --backend allensdk out to use neurodyn's own client.")


def save_by_sdk(source: Path, target: Path, options: ReadOptions, offline: bool = False, **attrs: str) -> Path:
    """Save what the SDK reads from a session as a Recording.

    Parameters
    ----------
    attrs
        Further attributes of the recording.

    Raises
    ------
    WorkError
        If the SDK's environment cannot be made.
    DataError
        If the SDK cannot read the session.
    ConfigError
        If something is asked for that the SDK's sessions do not have, such as templates.
    """
    strange = set(options.model_dump(exclude_defaults=True)) - {"indicator", "session", "units"}
    if strange:
        raise ConfigError(
            f"--backend allensdk has no use for source.{', source.'.join(sorted(strange))}.",
            "It takes: indicator, session, units.",
            "Leave --backend allensdk out to have the others.",
        )
    with _scratch(target.parent) as scratch:
        (session,) = read_by_sdk([source], scratch, offline)
        recording = recording_of("allensdk", session, source, options)
        recording.tree.attrs.update(attrs)
        return recording.save(target)


def read_by_sdk(sources: Sequence[Path], folder: Path, offline: bool = False) -> list[Session]:
    """Return what the SDK reads from sessions; traces lie in files of `folder`. Templates are not among it.

    Raises
    ------
    WorkError
        If the SDK's environment cannot be made.
    DataError
        If the SDK cannot read a session.
    """
    pairs = [(str(source.resolve()), str(folder / f"{k}.h5")) for k, source in enumerate(sources)]
    answers = ask({"read": pairs}, folder, offline)["sessions"]
    for source, answer in zip(sources, answers, strict=True):
        if "error" in answer:
            raise DataError(
                f"The Allen SDK cannot read {source}.", answer["error"], "Leave --backend allensdk out to read it."
            )
    return [_session(Path(target)) for _, target in pairs]


def _session(path: Path) -> Session:
    with h5py.File(path, "r") as stored:
        file: Any = stored
        behavior = {
            name: Course(group["time"][()], group["values"][()], group.attrs["unit"], group.attrs["axis"])
            for name, group in file["behavior"].items()
        }
        return Session(
            metadata=_metadata(json.loads(file.attrs["metadata"])),
            time=file["time"][()],
            traces={name: Hdf5Array(path, file["traces"][name]) for name in TRACES if name in file["traces"]},
            tables={
                name: {str(column): values[()] for column, values in table.items()}
                for name, table in file["tables"].items()
            },
            behavior=behavior,
            cells=file["cells"][()],
            roi_ids=file["roi_ids"][()].astype(str),
            neuropil_r=file["neuropil_r"][()],
            masks=[np.argwhere(mask) for mask in file["masks"]],
            max_projection=file["max_projection"][()],
            motion=file["motion"][()],
        )


def _metadata(said: dict[str, Any]) -> dict[str, Any]:
    """Give the SDK's metadata the names of neurodyn's reader."""
    names = {
        "experiment_id": "ophys_experiment_id",
        "container_id": "experiment_container_id",
        "area": "targeted_structure",
        "depth_um": "imaging_depth_um",
        "specimen": "specimen_name",
        "field_of_view": "fov",
        "session_start": "session_start_time",
    }
    same = ("session_type", "genotype", "age_days", "sex", "indicator", "device", "pipeline_version")
    found = {name: said.get(key) for name, key in names.items()} | {name: said.get(name) for name in same}
    found["cre_line"] = metadata_of("cre_line", said["genotype"]) if said.get("genotype") else None
    return {name: value for name, value in found.items() if value is not None}
