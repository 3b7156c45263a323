"""What an archive asks of a session and a recording does not know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from dateutil.parser import parse as parse_date
from pydantic import Field

from neurodyn.core.config import Params

LOGGER = logging.getLogger(__name__)
SEXES = {"male": "M", "female": "F"}


class Subject(Params):
    """The animal."""

    id: str = Field(default="unknown", description="name of the animal")
    species: str | None = Field(default=None, description="Latin name: Mus musculus")
    sex: Literal["M", "F", "U", "O"] = Field(default="U", description="male, female, unknown, other")
    age: str | None = Field(default=None, description="age at the session, ISO 8601: P90D is 90 days")
    genotype: str | None = Field(default=None, description="genotype")
    strain: str | None = Field(default=None, description="strain")


class NwbFacts(Params):
    """What an archive asks of a session and a recording does not know."""

    session_start: datetime | None = Field(default=None, description="start of the session, 2026-05-01T14:30+02:00")
    description: str | None = Field(default=None, description="what was done in the session")
    experiment: str | None = Field(default=None, description="what the experiment is about")
    experimenter: tuple[str, ...] = Field(default=(), description="experimenters, as 'Last, First'")
    institution: str | None = Field(default=None, description="institution")
    lab: str | None = Field(default=None, description="laboratory")
    keywords: tuple[str, ...] = Field(default=(), description="keywords")
    subject: Subject | None = Field(default=None, description="the animal")
    location: str | None = Field(default=None, description="area that was imaged, of the Allen CCF for mice: VISp")
    device: str | None = Field(default=None, description="microscope")
    photons: Literal[1, 2] | None = Field(
        default=None,
        description="kind of microscope (default: 1 for movies with a reference channel or a brain mask, else 2)",
    )
    suite2p: bool = Field(
        default=False,
        description="also an empty series with the movie's rate, which suite2p's own reader asks for (nwbinspector minds)",
    )
    excitation_nm: float | None = Field(default=None, gt=0, description="wavelength of excitation, nm")
    emission_nm: float | None = Field(default=None, gt=0, description="wavelength of emission, nm")


def known_facts(attrs: Mapping[Any, Any], facts: NwbFacts) -> NwbFacts:
    """Fill in what the recording knows of itself: from its NWB source, or of the Allen Brain Observatory."""
    known: dict[str, Any] = dict(attrs.get("nwb", {}))
    if "area" in attrs:
        known |= {"location": attrs["area"], "institution": "Allen Institute for Brain Science", "photons": 2}
    if "session_start" in attrs:
        known["session_start"] = _date(str(attrs["session_start"]))
    if "specimen" in attrs:
        known["subject"] = {
            "id": str(attrs["specimen"]),
            "species": "Mus musculus",
            "sex": SEXES.get(str(attrs.get("sex")), "U"),
            "age": f"P{attrs['age_days']:g}D" if "age_days" in attrs else None,
            "genotype": attrs.get("genotype"),
        }
    told = facts.model_dump(exclude_unset=True)
    if "subject" in known and told.get("subject"):
        told["subject"] = known["subject"] | told["subject"]
    return NwbFacts.model_validate(known | told)


def _date(text: str) -> datetime | None:
    try:
        return parse_date(text)
    except ValueError:
        LOGGER.warning("The start of the session, '%s', is no date; it is written as unknown.", text)
        return None
