"""Classes, a quantity or a circle: what a target is, by its name and its values, and why, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neurodyn.core.errors import ConfigError
from neurodyn.decode import DECODERS
from neurodyn.decode.base import Task
from neurodyn.decode.circle import Circle, angle_unit, asked_circle, find_circle
from neurodyn.decode.settings import DecodeConfig

Kind = Literal["class", "quantity", "angle"]
DEFAULTS: dict[Task, str] = {"regress": "ridge", "classify": "lda", "circular": "ridge"}

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

FEW = 12
REPEATED = 3
SMALL_CODE = 16
TASKS: tuple[Task, ...] = ("regress", "classify", "circular")


@dataclass(frozen=True)
class Column:
    """The values of a target, before windows are made of them.

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
class Choice:
    """What kind of prediction a target asks for.

    Parameters
    ----------
    task
        "regress", "classify" or "circular".
    why
        What its values are, in words.
    circle
        One turn, of a circular target.
    """

    task: Task
    why: str
    circle: Circle = Circle()

    def sentence(self, target: str, config: DecodeConfig, numeric: bool) -> str:
        """Say what was taken and why, and how another is taken."""
        words = {"regress": "a quantity", "classify": "classes"}
        what = words.get(self.task) or f"a circle of {self.circle.degrees:g} degrees"
        said = f"{target}: {self.why}: {what} ({default_decoder(config, self.task)})."
        other: Task = "regress" if self.task == "classify" else "classify"
        able = config.decoder is None or other in DECODERS.get(config.decoder).tasks
        how = f"--set task={other}" if able else f"--decoder {DEFAULTS[other]}"
        return f"{said} As {words[other]}: {how}" if numeric else said


def default_decoder(config: DecodeConfig, task: Task) -> str:
    """Return the decoder asked for, or the one that suits the task."""
    return config.decoder or ("knn" if config.protocol == "paper" else DEFAULTS[task])


def zero_is_nothing(name: str) -> bool:
    """Say whether a value of 0 is the absence of the stimulus, as contrast 0 is a blank screen."""
    return next((word in NOTHING for word in words_of(name)[::-1] if _meaning(word)), False)


def choose_task(column: Column, config: DecodeConfig) -> Choice:
    """Decide what a target is; what the configuration asks for comes first.

    1. Texts and truth values are classes.
    2. The last word of the name that is known decides: angles lie on a circle, unless they are whole numbers from -16 to
       16, which number directions rather than measure them; codes are classes if they are whole numbers; quantities are
       numbers.
    3. Other names: a unit of degrees or radians is a circle; whole numbers of at most 12 values, each there at least 3
       times, are classes, and so are more of them in uneven gaps; everything else is a quantity.

    Raises
    ------
    ConfigError
        If numbers are asked for where there are names, or a circle whose period nobody knows.
    """
    found = _by_itself(column, config)
    wanted: Task | None = config.task
    if wanted is None and config.decoder is not None and found.task not in (able := DECODERS.get(config.decoder).tasks):
        wanted = next(task for task in TASKS if task in able)
    if wanted is None or wanted == found.task:
        return found
    if not column.numeric:
        raise ConfigError(
            f"'{column.name}' has names, not numbers.",
            f"Found {found.why}; asked for: {wanted}.",
            "Take them as classes: --decoder lda --set task=classify",
        )
    if wanted != "circular":
        return Choice(wanted, found.why)
    if not _is_angle(column):
        raise ConfigError(
            f"'{column.name}' has no known period.",
            f"Found {found.why}; a circle needs the value at which it begins again.",
            "Say it: --set period=360",
        )
    return Choice("circular", found.why, _circle_of(column))


def _by_itself(column: Column, config: DecodeConfig) -> Choice:
    """Decide by name and values alone."""
    if not column.numeric:
        return Choice("classify", _counted(column, "name"))
    if config.period is not None:
        return Choice("circular", _range(column), asked_circle(config.period, column.units))
    kind, whole = _kind(column.name), bool((column.finite == np.round(column.finite)).all())
    codes = whole and kind == "angle" and _are_codes_of_angles(column)
    if _is_angle(column) and not codes:
        circle = _circle_of(column)
        return Choice("circular", _range(column, circle.unit), circle)
    if codes or column.modulo is not None or (whole and (kind == "class" or (kind is None and _are_codes(column)))):
        note = ", too small for degrees" if codes else ""
        return Choice("classify", _counted(column, "integer code" if whole else "value") + note)
    return Choice("regress", _range(column))


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


def _is_angle(column: Column) -> bool:
    kind = _kind(column.name)
    return kind == "angle" or (kind is None and column.modulo is None and angle_unit(column.units) is not None)


def _circle_of(column: Column) -> Circle:
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
