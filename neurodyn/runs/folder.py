"""The run folder: what is in it, and whether it may be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from neurodyn.core.config import Layer, build, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import atomic, clear_partials, read_json, remove
from neurodyn.data.curves import KINDS, curve_file
from neurodyn.data.window_config import WindowConfig
from neurodyn.runs.config import RunConfig
from neurodyn.runs.health import Health

Existing = Literal["skip", "error", "overwrite"]
CONFIG, STATUS, PREDICTION = "config.yaml", "status.json", "prediction.zarr"
PRODUCTS = (CONFIG, "metrics.csv", "model.safetensors", "model.json")
MADE_HERE = (
    *PRODUCTS,
    STATUS,
    "provenance.json",
    "log.jsonl",
    "checkpoints",
    "stages",
    PREDICTION,
    "reconstruction.csv",
    "scores.csv",
    "guesses.csv",
    *(curve_file(kind) for kind in KINDS),
    "report.html",
)


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds, or will hold, one run.

    Parameters
    ----------
    path
        Where it is.
    """

    path: Path

    @property
    def begun(self) -> bool:
        """Whether a training has begun here."""
        return (self.path / CONFIG).is_file()

    @property
    def status(self) -> dict[str, Any]:
        """What training wrote when it ended; nothing before."""
        path = self.path / STATUS
        return read_json(path) if path.exists() else {}

    @property
    def state(self) -> str:
        """What became of the training: "done", or "unfinished"."""
        return str(self.status.get("state", "unfinished"))

    @property
    def health(self) -> Health | None:
        """What was measured of a latent model once it was trained; None where nothing was."""
        return Health.read(self.status)

    @property
    def done(self) -> bool:
        """Whether the run ended well and all its products are there."""
        return self.state == "done" and all((self.path / name).exists() for name in PRODUCTS)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration as it was written, its recordings included.

        Raises
        ------
        DataError, ConfigError
            If there is none, or it cannot be read.
        """
        return load_yaml(self.path / CONFIG).values

    @cached_property
    def config(self) -> RunConfig:
        """The configuration of the training."""
        values = {name: value for name, value in self.settings.items() if name != "recordings"}
        return validate(RunConfig, resolve([Layer(values, str(self.path / CONFIG))]))

    @property
    def windows(self) -> WindowConfig:
        """Which windows it was trained on."""
        return build(WindowConfig, self.settings.get("windows") or {}, str(self.path / CONFIG))

    @property
    def model(self) -> str:
        """Name of the model; the folder's where the configuration says none."""
        return str(self.settings.get("name") or self.settings.get("backend") or self.path.name)

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int((self.settings.get("training") or {}).get("seed", 0))

    @property
    def inputs(self) -> dict[str, str]:
        """Recordings it was trained on: path -> SHA-256 of then.

        Raises
        ------
        DataError
            If there are none, or one has no checksum.
        """
        items = self.settings.get("recordings") or []
        if not items or any(not isinstance(item, Mapping) or not {"path", "sha256"} <= set(item) for item in items):
            raise DataError(
                f"{self.path}/config.yaml names no recordings with their checksums.",
                "Expected `recordings: [{path: ..., sha256: ...}]`, as training writes it.",
                "Train again: neurodyn train MODEL RECORDING -o DIR",
            )
        return {str(item["path"]): str(item["sha256"]) for item in items}

    def locate(self, name: str) -> Path:
        """Find a recording where the run saw it, or else relative to the run; the former where it is in neither place."""
        candidates = [Path(name), self.path / name]
        return next((path for path in candidates if path.exists()), candidates[0])

    def require_done(self) -> None:
        """Refuse a folder whose training has not ended.

        Raises
        ------
        DataError
            If there is no run, or it is not finished.
        """
        if not self.done:
            raise DataError(
                f"{self.path} is not a finished run.",
                "Its training was not completed." if self.begun else "It has no config.yaml.",
                "Train it, or run the same command again to finish: neurodyn train MODEL RECORDING -o DIR",
            )

    def claim(self, wanted: dict[str, Any], existing: Existing) -> Literal["new", "same", "done"]:
        """Decide whether a run with this configuration starts, goes on, or is done; clear the folder if told so.

        Raises
        ------
        ConfigError
            If the folder holds another run, or something that is no run.
        """
        if not self.begun:
            self._require_empty()
            return self._start(wanted)
        found = load_yaml(self.path / CONFIG).values
        if self.done and (found == wanted or existing == "skip"):
            return "done"
        if existing == "overwrite":
            self.clear()
            return self._start(wanted)
        if found != wanted:
            raise ConfigError(
                f"{self.path} holds a run with another configuration or other data.",
                f"Different: {', '.join(sorted(differences(found, wanted)))}.",
                "Choose another folder with -o DIR, or replace it: --existing overwrite",
            )
        return "same"

    def clear(self) -> None:
        """Remove everything a run makes, status first; leave other files alone."""
        for name in (STATUS, *MADE_HERE):
            remove(self.path / name)

    def _require_empty(self) -> None:
        strangers = [p.name for p in self.path.iterdir() if not p.name.startswith(".")] if self.path.is_dir() else []
        if strangers or (self.path.exists() and not self.path.is_dir()):
            raise ConfigError(
                f"{self.path} is not a run folder.",
                f"Found {', '.join(sorted(strangers)[:3]) or 'a file'} and no config.yaml.",
                "Choose another folder: -o DIR",
            )

    def _start(self, wanted: dict[str, Any]) -> Literal["new"]:
        for name in PRODUCTS:
            clear_partials(self.path / name)
        with atomic(self.path / CONFIG) as path:
            path.write_text(yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return "new"


def differences(found: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted keys in which two configurations differ."""
    names: set[str] = set()
    for key in found.keys() | wanted.keys():
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names |= differences(a, b, f"{prefix}{key}.")
        elif a != b:
            names.add(f"{prefix}{key}")
    return names
