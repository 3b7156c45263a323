"""Configuration: layers merged in order, each value with its origin, each error with its line.

Precedence: code < preset or pipeline < ``--config`` < ``NEURODYN_SECTION__KEY`` < flags < ``--set``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.registry import unknown

Path_ = tuple[str, ...]
MALFORMED = (yaml.YAMLError, ValueError, RecursionError)  # ValueError: dates and numbers that are none
LARGEST = 100_000  # values in one file
COMMANDS = (
    "decode",
    "denoise",
    "evaluate",
    "extract",
    "impute",
    "preprocess",
    "respond",
    "run",
    "simulate",
    "train_spikes",
)  # whose keys stand in no section
SECTIONS = ("source", "nwb", "model", "windows", "training", "stages", "tune")
PRESET_FOLDERS = {
    "model": "models",
    "pipeline": "pipelines",
    "chain": "pipelines/chains",
    "published": "pipelines/published",
}


def _decimal(tag: str, pattern: re.Pattern[str]) -> re.Pattern[str]:
    """Return the pattern of a number without colons."""
    number = tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    return re.compile(rf"(?!.*:){pattern.pattern}", pattern.flags) if number else pattern


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # pyright: ignore[reportGeneralTypeIssues]
    """YAML's safe loader, compiled where it is; 20:36 is text, as YAML 1.2 has it, not a number of base 60."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, _decimal(tag, pattern)) for tag, pattern in known]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Params(BaseModel):
    """Base of every configuration: frozen, and no key passes unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=BaseModel)


@dataclass
class Layer:
    """One source of configuration: nested values, and where each key path comes from."""

    values: dict[str, Any]
    origin: str
    lines: dict[Path_, int] = field(default_factory=dict)

    def where(self, path: Path_) -> str:
        """Return the origin of a key path, with the line where one is known."""
        return f"{self.origin}:{self.lines[path]}" if path in self.lines else self.origin


@dataclass
class Resolved:
    """Merged layers: plain values, and the origin of each leaf."""

    values: dict[str, Any]
    origins: dict[Path_, str]


def _walk(node: yaml.Node, prefix: Path_, lines: dict[Path_, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*prefix, str(key.value))
            lines[path] = key.start_mark.line + 1
            _walk(value, path, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            path = (*prefix, str(index))
            lines[path] = value.start_mark.line + 1
            _walk(value, path, lines)


def _read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Return YAML as nodes, which know their lines, and as plain values; nothing in it can name code.

    Aliases are counted before they are followed: a page of them can stand for more than fits into memory.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        if (count := _count(node, {})) > LARGEST:
            raise ValueError(f"its aliases stand for {count:,} values; at most {LARGEST:,} are read")
        return node, loader.construct_document(node)
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values in a node, aliases followed."""
    if id(node) not in known:
        known[id(node)] = LARGEST + 1  # of one that holds itself
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        inside = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        known[id(node)] = 1 + sum(_count(part, known) for part in inside)
    return known[id(node)]


def _problem(error: Exception) -> str:
    said = str(getattr(error, "problem", None) or str(error).splitlines()[0])
    deep = isinstance(error, RecursionError) or "nesting depth" in said
    return "it is nested too deeply" if deep else said.rstrip(".")


def load_yaml(path: Path) -> Layer:
    """Read a YAML mapping with the line number of every key; list items count as keys "0", "1", ….

    Raises
    ------
    DataError
        If the file cannot be read.
    ConfigError
        If it is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}.", str(error), "Check the path and its permissions.") from error
    lines: dict[Path_, int] = {}
    try:
        node, values = _read_yaml(text)
    except MALFORMED as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{path}{line} is not valid YAML.", f"{_problem(error)}.", "Check indentation and quotes."
        ) from error
    if not isinstance(values, dict) or node is None:
        raise ConfigError(f"{path} is not a mapping.", f"Found {type(values).__name__}.", "Write it as 'key: value'.")
    _walk(node, (), lines)
    return Layer(values, str(path), lines)


def _nest(path: Path_, value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return value


def layer_from_sets(items: Iterable[str]) -> list[Layer]:
    """Turn ``--set key.path=value`` items into layers; values are read as YAML."""
    layers = []
    for item in items:
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise ConfigError(
                f"--set {item} has no value.", "Expected key.path=value.", "Example: --set training.epochs=5"
            )
        layers.append(Layer(_nest(tuple(key.split(".")), _parsed(value, f"--set {item}")), f"--set {item}"))
    return layers


def _parsed(value: str, origin: str) -> Any:
    try:
        return _read_yaml(value)[1]
    except MALFORMED as error:
        raise ConfigError(f"{origin} cannot be read.", f"{_problem(error)}.", "Quote the value.") from error


def layer_from_environment(environ: Mapping[str, str] | None = None) -> list[Layer]:
    """Turn ``NEURODYN_TRAINING__EPOCHS=5`` into layers; names without a double underscore are not configuration."""
    environ = os.environ if environ is None else environ
    layers = []
    for name in sorted(environ):
        if name.startswith("NEURODYN_") and "__" in name:
            path = tuple(name.removeprefix("NEURODYN_").lower().split("__"))
            layers.append(Layer(_nest(path, _parsed(environ[name], name)), name))
    return layers


def layers_of(
    command: str | None = None,
    sections: Sequence[str] = (),
    *,
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
) -> list[Layer]:
    """Return what a person says to a command, in order: ``--config``, environment, flags, ``--set``.

    Parameters
    ----------
    command
        Its name, where it has keys that stand in no section: ``NEURODYN_DECODE__FOLDS=3`` is ``--set folds=3`` of decode.
    sections
        Sections it reads: ``NEURODYN_SOURCE__FS=10`` is ``--set source.fs=10``.
    config
        A YAML file.
    flags
        Values of flags that were given.
    sets
        Items of ``--set``.

    Raises
    ------
    ConfigError
        If one of them cannot be read, or the environment names a section that no command has.
    """
    layers = [load_yaml(config)] if config else []
    layers += [layer for each in layer_from_environment() for layer in _meant(each, command, sections)]
    layers += [Layer(dict(flags), "flags")] if flags else []
    return [*layers, *layer_from_sets(sets)]


def _meant(layer: Layer, command: str | None, sections: Sequence[str]) -> Iterator[Layer]:
    """Yield a layer of the environment as a command takes it, if it is meant."""
    ((head, values),) = layer.values.items()
    if head in sections:
        yield layer
    elif head == command:
        yield Layer(values, layer.origin)
    elif head not in (*SECTIONS, *COMMANDS):
        close = unknown("section", head, [*SECTIONS, *COMMANDS])
        raise ConfigError(f"{layer.origin}: there is no section '{head}'.", close.found, close.fix)


def _merge(base: dict[str, Any], layer: Layer, at: dict[str, Any], prefix: Path_, origins: dict[Path_, str]) -> None:
    for key, value in at.items():
        path = (*prefix, key)
        if isinstance(value, dict) and isinstance(base.get(key, {}), dict):
            base[key] = dict(base.get(key, {}))
            _merge(base[key], layer, value, path, origins)
        else:
            base[key] = value
        origins[path] = layer.where(path)


def resolve(layers: Iterable[Layer]) -> Resolved:
    """Merge layers in order; later ones win, key by key."""
    resolved = Resolved({}, {})
    for layer in layers:
        _merge(resolved.values, layer, layer.values, (), resolved.origins)
    return resolved


def without_section(layer: Layer, name: str) -> Layer:
    """Return a layer without one of its sections."""
    return replace(layer, values={key: value for key, value in layer.values.items() if key != name})


def validate(model: type[M], resolved: Resolved, prefix: Path_ = ()) -> M:
    """Build a pydantic model from resolved values.

    Raises
    ------
    ConfigError
        Naming the first bad key, its file and line, what was found and what is allowed.
    """
    values: Any = resolved.values
    for key in prefix:
        values = values.get(key) or {}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _config_error(model, error, resolved, prefix) from error


def _config_error(model: type[BaseModel], error: ValidationError, resolved: Resolved, prefix: Path_) -> ConfigError:
    faults = error.errors(include_url=False)
    first = next(
        (fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0]
    )  # a typo hides a missing key
    path = (*prefix, *(str(part) for part in first["loc"]))
    origin = next(
        (resolved.origins[path[:n]] for n in range(len(path), 0, -1) if path[:n] in resolved.origins), "defaults"
    )
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        owner = _owner(model, tuple(str(part) for part in first["loc"][:-1]))
        close = unknown("key", path[-1], owner.model_fields)
        return ConfigError(f"{origin}: unknown key '{key}'.", close.found, close.fix)
    others = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if not first["loc"]:  # no key by itself is wrong
        said = first["msg"].removeprefix("Value error, ")
        whose = f"{origin}: settings of '{key}'" if key else "These settings"
        one = f"{key}.KEY" if key else "KEY"
        return ConfigError(
            f"{whose} do not go together{others}.",
            f"{said[:1].upper()}{said[1:]}.",
            f"Change one of them: --set {one}=VALUE",
        )
    return ConfigError(
        f"{origin}: '{key}' is not valid{others}.",
        f"Found {first['input']!r}: {first['msg'].removeprefix('Value error, ')}.",
        f"Mend it there, or give --set {key}=VALUE",
    )


def _owner(model: type[BaseModel], path: Path_) -> type[BaseModel]:
    for part in path:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return model
        model = annotation
    return model


def build(model: type[M], values: dict[str, Any], origin: str) -> M:
    """Validate plain values from one named origin."""
    return validate(model, resolve([Layer(values, origin)]))


def find_preset(kind: str, name: str) -> Path:
    """Find a model or pipeline YAML: a path, ``./models`` or ``./pipelines``, then the packaged ones.

    Parameters
    ----------
    kind
        "model", "pipeline", "chain" or "published".

    Raises
    ------
    UnknownNameError
        With the closest match and the full list.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        if Path(name).is_file():
            return Path(name)
        raise DataError(
            f"{name} does not exist.", f"Expected a {kind} file.", f"List the packaged ones: neurodyn list {kind}s"
        )
    presets = list_presets(kind)
    if name not in presets:
        raise unknown(kind, name, presets)
    return presets[name]


def list_presets(kind: str) -> dict[str, Path]:
    """Return every preset of a kind by name, those of the working folder before the packaged ones."""
    folders = [packaged(PRESET_FOLDERS[kind]), Path.cwd() / PRESET_FOLDERS[kind]]
    return {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.yaml"))}


def packaged(name: str) -> Path:
    """Return the folder of shipped presets, inside the wheel or at the top of the source tree."""
    root = Path(__file__).resolve().parents[1]
    inside = root / "_packaged" / name
    return inside if inside.is_dir() else root.parent / name
