"""The catalogue of the Allen Brain Observatory: which experiments there are, and which of them are wanted."""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError, NeurodynError
from neurodyn.core.files import read_json, write_json
from neurodyn.core.registry import unknown
from neurodyn.fetch.download import Link

LOGGER = logging.getLogger(__name__)
API = "http://api.brain-map.org"
MIRROR = "https://allen-brain-observatory.s3.amazonaws.com/visual-coding-2p"
QUERY = (
    "model::OphysExperiment,rma::include,experiment_container,well_known_files(well_known_file_type),"
    "targeted_structure,specimen(donor(age,transgenic_lines)),rma::options[num_rows$eq'all'][count$eqfalse]"
)
MOVIES = ("natural_movie_one", "natural_movie_two", "natural_movie_three")
STIMULI = {
    "three_session_A": ("drifting_gratings", MOVIES[0], MOVIES[2], "spontaneous"),
    "three_session_B": ("natural_scenes", "static_gratings", MOVIES[0], "spontaneous"),
    "three_session_C": ("locally_sparse_noise", *MOVIES[:2], "spontaneous"),
    "three_session_C2": ("locally_sparse_noise_4deg", "locally_sparse_noise_8deg", *MOVIES[:2], "spontaneous"),
}


@dataclass(frozen=True)
class Experiment:
    """One session: what was imaged where, and what was shown.

    Parameters
    ----------
    depth
        Below the pia, µm.
    failed
        Whether its container failed the Institute's quality control.
    link
        Path of its NWB file on the API's server; None where the catalogue names none.
    """

    id: int
    container: int
    session_type: str
    area: str
    depth: int
    cre_line: str
    reporter_line: str
    donor: str
    failed: bool
    link: str | None

    @property
    def stimuli(self) -> tuple[str, ...]:
        """What was shown."""
        return STIMULI.get(self.session_type, ())


class Selection(Params):
    """Which experiments are wanted: those that meet every condition; each condition takes one of several values."""

    areas: tuple[str, ...] = Field(default=(), description="visual areas")
    depths: tuple[int, ...] = Field(default=(), description="depths, µm")
    cre_lines: tuple[str, ...] = Field(default=(), description="Cre lines")
    stimuli: tuple[str, ...] = Field(default=(), description="stimuli")
    session_types: tuple[str, ...] = Field(default=(), description="session types; A is three_session_A")
    containers: tuple[int, ...] = Field(default=(), description="ids of containers")
    experiments: tuple[int, ...] = Field(default=(), description="ids of experiments")
    failed: bool = Field(default=False, description="also containers that failed quality control")

    def of(self, catalogue: Sequence[Experiment]) -> list[Experiment]:
        """Return the wanted experiments, by container and session type.

        Raises
        ------
        ConfigError
            If a value is nowhere in the catalogue, with the values there are.
        DataError
            If no experiment meets all conditions.
        """
        types = tuple(f"three_session_{t}" if f"three_session_{t}" in STIMULI else t for t in self.session_types)
        conditions: list[tuple[str, Sequence[Any], Any]] = [
            ("area", self.areas, lambda one: {one.area}),
            ("depth", self.depths, lambda one: {one.depth}),
            ("Cre line", self.cre_lines, lambda one: {one.cre_line}),
            ("stimulus", self.stimuli, lambda one: set(one.stimuli)),
            ("session type", types, lambda one: {one.session_type}),
            ("container", self.containers, lambda one: {one.container}),
            ("experiment", self.experiments, lambda one: {one.id}),
        ]
        found = [one for one in catalogue if self.failed or not one.failed]
        for name, wanted, values in conditions:
            _check_known(name, wanted, {value for one in catalogue for value in values(one)})
            found = [one for one in found if not wanted or values(one) & set(wanted)]
        if not found:
            raise DataError(
                "No experiment meets all conditions.",
                f"The catalogue has {len(catalogue)}; each condition alone is met by some.",
                "Drop one, or add --failed for those that failed quality control.",
            )
        return sorted(found, key=lambda one: (one.container, one.session_type, one.id))


def _check_known(name: str, wanted: Sequence[Any], known: Iterable[Any]) -> None:
    names = {str(value) for value in known}
    for value in wanted:
        if str(value) not in names:
            close = unknown(name, str(value), names if len(names) < 50 else ())
            fix = (
                close.fix if close.fix.startswith("Did") else "List them with: neurodyn fetch allen --list experiments"
            )
            raise ConfigError(close.what, close.found if len(names) < 50 else f"{len(names)} are known.", fix)


def kept_catalogue(cache: Path) -> Path:
    """Return where the cache keeps the catalogue, as the API gave it."""
    return cache / "ophys_experiments.json"


def read_catalogue(
    cache: Path, link: Link, api: str = API, mirror: str = MIRROR, refresh: bool = False
) -> list[Experiment]:
    """Return every experiment, from the cache or, the first time, from the API; where that fails, from the S3 copy.

    Parameters
    ----------
    refresh
        Ask again although the cache has it.

    Raises
    ------
    WorkError
        If neither server can be had.
    DataError
        If the catalogue is in no form neurodyn knows, or must be asked for and the link is offline.
    """
    kept = kept_catalogue(cache)
    if kept.is_file() and not refresh:
        return [_experiment(row) for row in read_json(kept)]
    if link.offline:
        raise DataError(
            "The catalogue is not in the cache.",
            f"Expected {kept}; --offline allows no request.",
            "Type the command once without --offline.",
        )
    try:
        rows = _from_api(link, api)
    except NeurodynError as error:
        LOGGER.warning("%s %s The public S3 copy is asked instead.", error.what, error.found)
        rows = link.json(f"{mirror}/ophys_experiments.json")
    found = [_experiment(row) for row in rows]
    write_json(kept, rows)
    return found


def _from_api(link: Link, api: str) -> list[Any]:
    reply = link.json(f"{api}/api/v2/data/query.json?q={urllib.parse.quote(QUERY, safe=';/?:@&=+$,')}")
    rows = reply.get("msg") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not rows or reply.get("success") is False:
        raise DataError(
            f"{api} did not answer with a list of experiments.", f"Found {str(rows)[:80]!r}.", "Try again later."
        )
    return rows


def _experiment(row: Any) -> Experiment:
    try:
        donor = row["specimen"]["donor"]
        lines = donor.get("transgenic_lines") or []
        files = row.get("well_known_files") or []
        return Experiment(
            id=int(row["id"]),
            container=int(row["experiment_container_id"]),
            session_type=str(row["stimulus_name"]),
            area=str(row["targeted_structure"]["acronym"]),
            depth=int(row["imaging_depth"]),
            cre_line=_line(lines, "driver", "Cre"),
            reporter_line=_line(lines, "reporter"),
            donor=str(donor.get("external_donor_name", "")),
            failed=bool((row.get("experiment_container") or {}).get("failed", False)),
            link=next((file["download_link"] for file in files if _kind(file) == "NWBOphys"), None),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "The catalogue is in no form neurodyn knows.",
            f"An experiment lacks or garbles {error}.",
            "Ask for it again: neurodyn fetch allen --list experiments --refresh",
        ) from error


def _line(lines: Iterable[Any], kind: str, part: str = "") -> str:
    names = (line["name"] for line in lines if line["transgenic_line_type_name"] == kind and part in line["name"])
    return next(names, "")


def _kind(file: Any) -> str:
    return (file.get("well_known_file_type") or {}).get("name", "")
