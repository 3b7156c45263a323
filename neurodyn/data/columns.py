"""A column of stimuli or behaviour: its values in order, and what they are by its name: classes, a quantity or an angle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.registry import unknown
from neurodyn.data.circle import Circle, angle_unit, asked_circle, find_circle
from neurodyn.data.recording import Recording
from neurodyn.data.store import as_text

Kind = Literal["class", "quantity", "angle"]

# The last word of a name that stands here decides: image_contrast is a contrast, contrast_id a code.
CLASSES = frozenset({
    "image", "picture", "photo", "scene", "texture", "movie", "clip", "video", "frame", "stimulus", "stim", "class",
    "category", "kind", "type", "label", "name", "odor", "odour", "smell", "taste", "id", "identity", "code",
    "index", "idx", "condition", "cond", "context", "rule", "cue", "choice", "outcome", "object", "face", "word",
    "letter", "digit", "template", "pattern", "cluster", "group", "block", "state", "stage", "side", "port",
    "spout", "target", "shape", "animal", "session", "odorant", "syllable", "song", "call", "sound", "maneuver",
    "behavior", "behaviour",
})  # fmt: skip
QUANTITIES = frozenset({
    "contrast", "intensity", "power", "amplitude", "volume", "luminance", "brightness", "loudness", "speed",
    "velocity", "acceleration", "frequency", "freq", "sf", "tf", "hz", "size", "diameter", "radius", "width",
    "height", "length", "duration", "delay", "latency", "interval", "time", "position", "pos", "distance", "depth",
    "x", "y", "z", "elevation", "altitude", "eccentricity", "reward", "value", "level", "concentration", "dose",
    "pressure", "temperature", "weight", "coherence", "strength", "probability", "count", "number", "licks",
    "pupil", "area", "rate", "score", "current", "voltage", "energy",
})  # fmt: skip
ANGLES = frozenset({
    "direction", "dir", "orientation", "ori", "angle", "phase", "heading", "azimuth", "bearing", "yaw", "theta",
    "azi", "hd", "rotation",
})  # fmt: skip
MEANINGS: dict[str, Kind] = {
    **dict.fromkeys(CLASSES, "class"),
    **dict.fromkeys(QUANTITIES, "quantity"),
    **dict.fromkeys(ANGLES, "angle"),
}
NOTHING = frozenset({
    "contrast", "intensity", "power", "amplitude", "volume", "luminance", "brightness", "loudness", "current",
    "voltage",
})  # fmt: skip

WHEN = ("start", "stop", "start_frame", "stop_frame")  # columns that say when an event was, not what
FEW = 12
REPEATED = 3
SMALL_CODE = 16


@dataclass(frozen=True)
class Column:
    """The values of a column of the stimulus table, in order of onsets, or of behaviour.

    Parameters
    ----------
    name
        As asked for, without `%`.
    values
        One per event, or per sample of behaviour, after `%`; NaN or "" where missing.
    units
        As the recording has it; "" for none.
    modulo
        Of a target NAME%NUMBER.
    behavior
        Whether it is a course of behaviour rather than a column of the stimulus table.
    """

    name: str
    values: np.ndarray
    units: str = ""
    modulo: float | None = None
    behavior: bool = False

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers, not texts or truth values."""
        return self.values.dtype.kind in "iuf"

    @property
    def finite(self) -> np.ndarray:
        """The finite numbers among the values, shape (entry,)."""
        values = self.values.astype(np.float64)
        return values[np.isfinite(values)]


@dataclass(frozen=True)
class Meaning:
    """What the values of a column are.

    Parameters
    ----------
    kind
        Classes, a quantity or an angle.
    why
        In words, by which values.
    circle
        One turn, of an angle.
    """

    kind: Kind
    why: str
    circle: Circle = Circle()


def read_column(recording: Recording, target: str) -> Column:
    """Read a column, one value per event in order of onsets, or per sample of behaviour.

    Parameters
    ----------
    target
        Name of a stimulus or behaviour column; NAME%NUMBER takes the rest.

    Raises
    ------
    DataError
        If there is no such column, or % is asked of something that is no number.
    """
    name, modulo = _parse(target)
    stimulus, behavior = recording.table("stimulus"), recording.table("behavior")
    if stimulus is not None and name in stimulus:
        order = np.argsort(recording.stimulus["start"].values, kind="stable")
        found, of_behavior = recording.stimulus.isel(event=order)[name], False
    elif behavior is not None and name in behavior.data_vars and behavior[name].ndim == 1:
        found, of_behavior = behavior[name], True
    else:
        raise _no_target(recording, target)
    values = as_text(found.values) if found.dtype.kind in "OSUTb" else found.values
    if modulo is not None:
        if values.dtype.kind not in "iuf":
            raise DataError(f"'{name}' is not a number.", f"Found {found.dtype}; % needs numbers.", "Leave out the %.")
        values = values % modulo
    return Column(name, values, str(found.attrs.get("units", "")), modulo, of_behavior)


def meaning_of(column: Column, period: float | None = None) -> Meaning:
    """Decide what a column is by its name and values.

    1. Texts and truth values are classes.
    2. The last word of the name that is known decides: angles lie on a circle, unless they are whole numbers from -16 to
       16, which number directions rather than measure them; codes are classes if they are whole numbers; quantities are
       numbers.
    3. Other names: a unit of degrees or radians is a circle; whole numbers of at most 12 values, each there at least 3
       times, are classes, and so are more of them in uneven gaps; everything else is a quantity.

    Parameters
    ----------
    period
        Value at which an angle begins again, where that was asked for.
    """
    if not column.numeric:
        return Meaning("class", _counted(column, "name"))
    if period is not None:
        return Meaning("angle", _range(column), asked_circle(period, column.units))
    kind, whole = _kind(column.name), bool((column.finite == np.round(column.finite)).all())
    codes = whole and kind == "angle" and _are_codes_of_angles(column)
    if is_angle(column) and not codes:
        circle = circle_of(column)
        return Meaning("angle", _range(column, circle.unit), circle)
    if codes or column.modulo is not None or (whole and (kind == "class" or (kind is None and _are_codes(column)))):
        note = ", too small for degrees" if codes else ""
        return Meaning("class", _counted(column, "integer code" if whole else "value") + note)
    return Meaning("quantity", _range(column))


def zero_is_nothing(name: str) -> bool:
    """Say whether a value of 0 is the absence of the stimulus, as contrast 0 is a blank screen."""
    return next((word in NOTHING for word in words_of(name)[::-1] if _meaning(word)), False)


def words_of(name: str) -> list[str]:
    """Return the words of a name, in lower case: stimDirection_deg -> stim, direction, deg."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _meaning(word: str) -> Kind | None:
    """Return what a word or its singular stands for."""
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((MEANINGS[form] for form in forms if form in MEANINGS), None)


def _kind(name: str) -> Kind | None:
    """Return what the last known word of a name stands for."""
    return next((kind for word in words_of(name)[::-1] if (kind := _meaning(word))), None)


def is_angle(column: Column) -> bool:
    """Say whether name or unit are those of an angle."""
    kind = _kind(column.name)
    return kind == "angle" or (kind is None and column.modulo is None and angle_unit(column.units) is not None)


def circle_of(column: Column) -> Circle:
    """Return one turn of an angle."""
    return find_circle(words_of(column.name), column.finite, column.units, column.modulo)


def _are_codes_of_angles(column: Column) -> bool:
    """Say whether whole numbers are too small for degrees: they number the directions."""
    unsaid = angle_unit(column.units) is None and column.modulo is None
    return unsaid and bool(np.abs(column.finite).max(initial=0) <= SMALL_CODE)


def _are_codes(column: Column) -> bool:
    """Say whether whole numbers of an unknown name look like codes: few and repeated, or repeated with uneven gaps."""
    found, count = np.unique(column.finite, return_counts=True)
    if not found.size or count.min() < REPEATED:
        return False
    ratios = found[1:] / found[:-1] if found[0] > 0 else np.array([1.0, 2.0])
    even = np.ptp(np.diff(found)) == 0 or np.ptp(ratios) < 0.1 * ratios.min() if found.size > 1 else True
    return found.size <= FEW or (not even and found.size < 0.5 * (np.ptp(found) + 1))


def _counted(column: Column, what: str) -> str:
    values = column.finite if column.numeric else column.values[column.values != ""]
    names, count = np.unique(values, return_counts=True)
    if not count.size:
        return f"no {what}s"
    low, high = int(count.min()), int(count.max())
    unit = "samples" if column.behavior else "trials" if high != 1 else "trial"
    return f"{names.size} {what}{'s' * (names.size != 1)}, {low if low == high else f'{low} to {high}'} {unit} each"


def _range(column: Column, unit: str = "") -> str:
    finite = column.finite
    if not finite.size:
        return "no values"
    count = np.unique(finite).size
    return f"{count} value{'s' * (count != 1)} from {finite.min():g} to {finite.max():g}{f' {unit}' * bool(unit)}"


def _parse(target: str) -> tuple[str, float | None]:
    name, sign, number = target.partition("%")
    if not sign:
        return name, None
    try:
        modulo = float(number)
    except ValueError as error:
        raise ConfigError(
            f"Target '{target}' cannot be read.",
            f"After % a number is expected, found '{number}'.",
            "--target NAME%180",
        ) from error
    if modulo <= 0:
        raise ConfigError(f"Target '{target}' cannot be read.", "The number after % must be positive.", "NAME%180")
    return name, modulo


def _no_target(recording: Recording, target: str) -> DataError:
    found, names = [], []
    for group in ("stimulus", "behavior"):
        table = recording.table(group)
        if table is not None:
            here = sorted(str(n) for n in table.variables if n not in ("start", "stop") and n not in table.dims)
            found.append(f"{group}: {', '.join(here) or 'nothing'}")
            names += here
    close = unknown("target", target, names).fix if names else "Add events: neurodyn convert … --stimulus FILE"
    return DataError(
        f"Recording '{recording.session}' has no target '{target}'.",
        f"Found {'; '.join(found) or 'neither stimulus nor behaviour'}.",
        close if close.startswith(("Did", "Add")) else "Name one of these: --target NAME",
    )
