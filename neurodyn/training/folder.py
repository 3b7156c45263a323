"""The run folder: what is in it, whether it may be used, and the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Channel, Layout
from neurodyn.core.config import load_yaml
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import atomic, clear_partials, read_json, remove, sha256, write_json
from neurodyn.data.damage import DAMAGED, reason
from neurodyn.data.responses import ResponseRule
from neurodyn.data.stimulus_code import StimulusCode
from neurodyn.training.config import RunConfig

Existing = Literal["skip", "error", "overwrite"]
BRAIN = "layout.brain"
PRODUCTS = ("config.yaml", "metrics.csv", "model.safetensors", "model.json")
MADE_HERE = (
    *PRODUCTS,
    "status.json",
    "provenance.json",
    "log.jsonl",
    "checkpoints",
    "stages",
    "prediction.zarr",
    "reconstruction.csv",
    "scores.csv",
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
    def done(self) -> bool:
        """Whether the run ended well and all its products are there."""
        status = self.path / "status.json"
        return (
            status.exists()
            and read_json(status).get("state") == "done"
            and all((self.path / name).exists() for name in PRODUCTS)
        )

    def recorded(self) -> dict[str, Any] | None:
        """Return the configuration the folder was made with, or None."""
        path = self.path / "config.yaml"
        return load_yaml(path).values if path.exists() else None

    def claim(self, wanted: dict[str, Any], existing: Existing) -> Literal["new", "same", "done"]:
        """Decide whether a run with this configuration starts, goes on, or is done; clear the folder if told so.

        Raises
        ------
        ConfigError
            If the folder holds another run, or something that is no run.
        """
        found = self.recorded()
        if found is None:
            self._require_empty()
            return self._start(wanted)
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
        for name in ("status.json", *MADE_HERE):
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
        with atomic(self.path / "config.yaml") as path:
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


def save_model(folder: Path, config: RunConfig, backend: Backend, weights: dict[str, torch.Tensor]) -> None:
    """Write model.json and model.safetensors; the brain mask travels with the weights."""
    layout = backend.layout
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    masks = {BRAIN: layout.brain} | {f"{BRAIN}.{other.name}": other.brain for other in layout.others}
    tensors |= {name: torch.from_numpy(mask.astype(np.uint8)) for name, mask in masks.items()}
    with atomic(folder / "model.safetensors") as path:
        path.write_bytes(safetensors.torch.save(tensors))
    write_json(
        folder / "model.json",
        {
            "backend": config.backend,
            "config": backend.config.model_dump(mode="json"),
            "layout": {
                "frames": layout.frames,
                "space": list(layout.space),
                "rate_hz": layout.rate_hz,
                "cells": list(layout.cells),
                "sessions": list(layout.sessions),
                "horizon": layout.horizon,
                "code": None if layout.code is None else layout.code.model_dump(mode="json"),
                "rule": None if layout.rule is None else layout.rule.model_dump(mode="json"),
                "names": [list(session) for session in layout.names],
                "centres": [list(centre) for centre in layout.centres],
                "variable": layout.variable,
                "others": [{"name": other.name, "space": list(other.space)} for other in layout.others],
            },
            "parameters": sum(p.numel() for p in backend.parameters() if p.requires_grad),
            "citation": backend.citation,
            "sha256": sha256(folder / "model.safetensors"),
        },
    )


def load_model(folder: Path) -> Backend:
    """Build the back-end of a finished run, in evaluation mode.

    Raises
    ------
    DataError
        If files are missing or damaged.
    """
    described = read_json(folder / "model.json")
    try:
        path = folder / "model.safetensors"
        if (found := sha256(path)) != (expected := described["sha256"]):
            raise ValueError(f"{path} has SHA-256 {found[:12]}…; model.json says {expected[:12]}…")
        weights = safetensors.torch.load_file(path)
        brain = weights.pop(BRAIN).numpy().astype(bool)
        kind = BACKENDS.get(described["backend"])
        shape = described["layout"]
        sessions = tuple(shape["cells"]), tuple(shape["sessions"])
        code = (found := shape.get("code")) and StimulusCode.model_validate(found)
        names = tuple(map(tuple, shape.get("names", ())))
        rule = (found := shape.get("rule")) and ResponseRule.model_validate(found)
        centres = tuple(map(tuple, shape.get("centres", ())))
        others = tuple(
            Channel(other["name"], tuple(other["space"]), weights.pop(f"{BRAIN}.{other['name']}").numpy().astype(bool))
            for other in shape.get("others", ())
        )
        told = {"horizon": shape.get("horizon", 0), "code": code, "rule": rule, "names": names, "centres": centres}
        told |= {"variable": shape.get("variable", ""), "others": others}
        layout = Layout(shape["frames"], tuple(shape["space"]), shape["rate_hz"], brain, *sessions, **told)
        backend = kind(kind.Config.model_validate(described["config"]), layout)
        backend.load_state_dict(weights)
    except (*DAMAGED, safetensors.SafetensorError) as error:
        raise DataError(
            f"The model in {folder} cannot be read.",
            f"{type(error).__name__}: {reason(error)}.",
            "Train it again with --existing overwrite",
        ) from error
    return backend.eval()
