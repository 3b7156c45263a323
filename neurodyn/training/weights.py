"""A trained model as a run folder keeps it: weights, configuration, and the layout it was built for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.backends.layout import Channel, Layout
from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, read_json, sha256, write_json
from neurodyn.data.damage import DAMAGED, reason
from neurodyn.data.responses import ResponseRule
from neurodyn.data.stimulus_code import StimulusCode
from neurodyn.runs.config import RunConfig

BRAIN = "layout.brain"


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
                "ahead": layout.ahead,
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
        told |= {"variable": shape.get("variable", ""), "others": others, "ahead": shape.get("ahead", 0)}
        layout = Layout(shape["frames"], tuple(shape["space"]), shape["rate_hz"], brain, *sessions, **told)
        backend = kind(kind.Config.model_validate(described["config"]), layout)
        backend.load_state_dict(weights)
    except (*DAMAGED, safetensors.SafetensorError) as error:
        raise DataError(
            f"The model in {folder} cannot be read.",
            f"{type(error).__name__}: {reason(error)}.",
            "Remove the folder, then train it again.",
        ) from error
    return backend.eval()
