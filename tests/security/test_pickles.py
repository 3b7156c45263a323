"""Nothing that a user hands us is unpickled: the file is refused, and what it asks for does not happen."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from tests.reliability.conftest import TINY
from tests.security.conftest import Bomb


def refused(outcome) -> None:
    assert outcome.code == 3, outcome.err
    assert "Traceback" not in outcome.err and len(outcome.err.strip().splitlines()) >= 3


def test_the_bomb_is_one(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("command", ["inspect", "validate", "convert"])
def test_an_array_of_objects(command, neurodyn, mark, tmp_path):
    np.save(tmp_path / "a.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Bomb(mark)))
    np.savez(tmp_path / "c.npz", mov=np.array([Bomb(mark)] * 4, dtype=object))
    for name in ("a.npy", "b.npy", "c.npz"):
        more = [tmp_path / "out.zarr", "--fs", 10] if command == "convert" else ["--fs", 10]
        outcome = neurodyn(command, tmp_path / name, *more)
        if (command, name) != ("inspect", "c.npz"):  # an archive may hold other things than the recording
            refused(outcome)


@pytest.mark.parametrize("name", ["stat.npy", "ops.npy"])
def test_suite2p_metadata(name, neurodyn, mark, tmp_path):
    plane = tmp_path / "plane0"
    plane.mkdir()
    for file in ("F", "Fneu", "spks"):
        np.save(plane / f"{file}.npy", np.ones((3, 40), np.float32))
    np.save(plane / name, np.array([Bomb(mark)] * 3, dtype=object), allow_pickle=True)
    refused(neurodyn("convert", plane, tmp_path / "a.zarr", "--fs", 10, "--set", "source.pickle=true"))
    assert neurodyn("convert", plane, tmp_path / "a.zarr", "--fs", 10).code == 0


@pytest.mark.parametrize("settings", [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}])
def test_a_zarr_array_that_asks_for_unpickling(settings, neurodyn, mark, tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("mov", data=np.ones((4, 5, 6), np.uint16), chunks=(4, 5, 6), compressors=None)
    described = tmp_path / "a.zarr" / "mov" / ".zarray"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"compressor": None} | settings))
    (tmp_path / "a.zarr" / "mov" / "0.0.0").write_bytes(pickle.dumps(Bomb(mark)))
    refused(neurodyn("convert", tmp_path / "a.zarr", tmp_path / "out.zarr", "--fs", 10))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_the_weights_of_a_run(how, neurodyn, run, recording, mark, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copy / "prediction.zarr")
    weights = copy / "model.safetensors"
    weights.write_bytes(pickle.dumps(Bomb(mark))) if how == "pickle" else torch.save({"w": Bomb(mark)}, weights)
    card = json.loads((copy / "model.json").read_text())
    from neurodyn.core.files import sha256

    (copy / "model.json").write_text(json.dumps(card | {"sha256": sha256(weights)}))
    refused(neurodyn("infer", copy, "--gpu", "none"))
    refused(neurodyn("impute", recording, "--run", copy, "--reject", "10-12", "-o", tmp_path / "imputed.zarr"))
    start = ["--start", copy, "--set", "windows.duration=2", "--gpu", "none"]
    refused(neurodyn("train", "pca", recording, "-o", tmp_path / "other", *start))


@pytest.mark.parametrize("how", ["pickle", "torch", "legacy", "beside"])
def test_the_checkpoint_of_a_training(how, neurodyn, movie, mark, tmp_path):
    from neurodyn.training.config import load_run_config
    from neurodyn.training.fit import fit

    folder = tmp_path / "run"
    fit(*load_run_config("cst-tiny", None, TINY[1::2]), [movie], folder, gpu="none")
    (folder / "status.json").unlink()
    checkpoint = folder / "checkpoints" / "last.ckpt"
    held = torch.load(checkpoint, weights_only=True)
    if how == "pickle":
        checkpoint.write_bytes(pickle.dumps(Bomb(mark)))
    elif how == "beside":
        torch.save(held | {"hyper_parameters": Bomb(mark)}, checkpoint)
    else:
        torch.save(Bomb(mark), checkpoint, _use_new_zipfile_serialization=how == "torch")
    refused(neurodyn("train", "cst-tiny", movie, "-o", folder, "--gpu", "none", "--resume", *TINY))
