"""What a search tries: parameters with their ranges, and the configuration that a choice of values makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from neurodyn.backends import BACKENDS
from neurodyn.core.config import Layer, Params, Resolved, resolve, validate, without_section
from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown
from neurodyn.core.search import Range, Space, read_space
from neurodyn.runs.config import RunConfig, TrainingConfig
from neurodyn.training.config import TUNE, read_layers, run_config

SECTIONS = ("model", "training")
MEASURES = {"loss": "loss", "cosmoothing": "1 - R² of hidden cells"}


class TuneConfig(Params):
    """How a configuration is searched for."""

    space: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="by section (model, training) and key: [choice, choice] or {low: number, high: number, log: true}; "
        "what the model declares otherwise",
    )
    objective: Literal["loss", "cosmoothing"] = Field(
        "loss",
        description="what is made small on validation windows: the loss, or 1 - R² of hidden cells told from the others, which "
        "stays comparable where weights of the loss are searched; with the latter no trial is stopped early",
    )
    seed: int = Field(0, ge=0, description="seed of the search; that of every training is training.seed")
    startup: int = Field(10, ge=1, description="finished trials before new ones learn from them; drawn at random")
    prune: bool = Field(
        True,
        description="stop a trial whose best validation so far is above the median of complete trials at that epoch",
    )
    prune_after: int = Field(
        5, ge=1, description="epochs that every trial gets, and trials that end before any is stopped"
    )


@dataclass(frozen=True)
class Search:
    """A configuration to start from, and what may change in it.

    Parameters
    ----------
    preset
        Name of the preset.
    resolved
        Its merged values.
    space
        By dotted key, in the order of the declaration: where it is searched. It holds the value to start from.
    settings
        How it is searched.
    """

    preset: str
    resolved: Resolved
    space: dict[str, Space]
    settings: TuneConfig

    @property
    def config(self) -> RunConfig:
        """The configuration to start from."""
        return run_config(self.resolved, self.preset)

    @property
    def by_cells(self) -> bool:
        """Whether trials are compared by the cells that they tell from the others."""
        return self.settings.objective == "cosmoothing"

    @property
    def measure(self) -> str:
        """What is made small on validation windows, in words."""
        return MEASURES[self.settings.objective]

    @property
    def start(self) -> dict[str, Any]:
        """The values to start from, by dotted key."""
        values = self.config.model_dump(mode="json")
        return {key: _value(values, key) for key in self.space}

    def values(self, chosen: dict[str, Any], origin: str) -> Resolved:
        """Return the merged values with some changed, by dotted key."""
        changed: dict[str, Any] = {}
        for key, value in chosen.items():
            section, _, name = key.partition(".")
            changed.setdefault(section, {})[name] = value
        return resolve([Layer(self.resolved.values, self.preset), Layer(changed, origin)])

    def with_values(self, chosen: dict[str, Any], origin: str) -> RunConfig:
        """Return the configuration with some values changed.

        Raises
        ------
        ConfigError
            If they do not go together.
        """
        config = run_config(self.values(chosen, origin), self.preset)
        training = config.training.model_copy(update={"health": self.by_cells})
        return config.model_copy(update={"training": training})


def load_search(preset: str, config_file: Path | None = None, sets: Sequence[str] = ()) -> Search:
    """Merge preset, file, environment and `--set` items, and find out what is to be searched.

    Searched is what the model declares and what `tune.space` names, which goes first; a value that is given beside the
    preset, and for which `tune.space` names nothing, is fixed.

    Raises
    ------
    ConfigError
        Naming what is wrong, or if nothing can be searched.
    """
    path, layers = read_layers(preset, config_file, sets)
    settings = validate(TuneConfig, _with_empty_section(resolve(layers)), (TUNE,))
    first, *given = (without_section(layer, TUNE) for layer in layers)
    resolved = resolve([first, *given])
    config = run_config(resolved, path.stem)
    kind = BACKENDS.get(config.backend)
    named = {f"{section}.{key}": space for section, keys in settings.space.items() for key, space in keys.items()}
    fixed = {".".join(key) for key in resolve(given).origins} - set(named)
    space = {key: space for key, space in kind.SEARCH.items() if key not in fixed}
    space |= {key: _checked(key, read_space(key, given), kind.Config) for key, given in named.items()}
    if not space:
        raise ConfigError(
            f"{config.backend} has nothing to tune.",
            "It declares no parameter to search." if not kind.SEARCH else "Every parameter it declares is fixed.",
            f"Name one: --set 'tune.space.model.KEY=[…]'; see: neurodyn show model {preset}",
        )
    return _checked_ends(Search(path.stem, resolved, _holding(space, config), settings))


def _with_empty_section(resolved: Resolved) -> Resolved:
    return Resolved({TUNE: {}} | resolved.values, resolved.origins)


def _value(values: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    return values[section][name]


def _checked(key: str, space: Space, model: type[BaseModel]) -> Space:
    """Refuse a key that no configuration has."""
    section, _, name = key.partition(".")
    if section not in SECTIONS:
        raise unknown("section of tune.space", section, SECTIONS)
    fields = (model if section == "model" else TrainingConfig).model_fields
    if name not in fields:
        raise unknown(f"parameter of {section}", name, fields)
    return space


def _holding(space: dict[str, Space], config: RunConfig) -> dict[str, Space]:
    """Widen every space to the value to start from."""
    values = config.model_dump(mode="json")
    found: dict[str, Space] = {}
    for key, own in space.items():
        value = _value(values, key)
        if isinstance(own, Range) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError(
                f"tune.space.{key} is a range of numbers.",
                f"The search starts from {value!r}.",
                f"Name choices, --set 'tune.space.{key}=[1, 2]', or a number to start from: --set {key}=NUMBER",
            )
        found[key] = own.holding(value)
    return found


def _checked_ends(search: Search) -> Search:
    """Refuse a space whose ends are no values of their parameter; whether they suit the others is seen when drawn."""
    for key, space in search.space.items():
        for end in space.ends:
            try:
                search.with_values({key: end}, f"tune.space.{key}")
            except ConfigError as error:
                if f"'{key}" in error.what:
                    raise
    return search
