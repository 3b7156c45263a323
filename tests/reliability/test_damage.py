"""Files that were cut short, changed or lost: found, the file named, exit 3, and never read as if nothing had happened."""

import json
import shutil
from pathlib import Path
from random import Random

import pytest
import torch

from tests.cli.conftest import Outcome
from tests.reliability.conftest import TINY


def flip(path: Path, seed: int = 0) -> None:
    """Change one bit in the middle half of a file."""
    data, random = bytearray(path.read_bytes()), Random(seed)
    data[random.randrange(len(data) // 4, 3 * len(data) // 4)] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    """Put other bytes in the place of a file's."""
    path.write_bytes(Random(0).randbytes(path.stat().st_size))


def lose(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def named(outcome: Outcome, file: Path) -> None:
    """Check that a command ended with exit code 3 and named the file."""
    assert outcome.code == 3, outcome.err
    assert "Traceback" not in outcome.err
    assert str(file) in "\n".join(outcome.err.strip().splitlines()[-3:]), outcome.err


CHUNKS = ("neural/dff/c/0/0", "neural/time/c/0", "stimulus/contrast/c/0")


@pytest.mark.parametrize("place", CHUNKS)
@pytest.mark.parametrize("harm", [flip, cut, garble, lose])
def test_a_chunk_of_a_recording(harm, place, neurodyn, recording, tmp_path):
    copy = Path(shutil.copytree(recording, tmp_path / "a.zarr"))
    harm(copy / place)
    named(neurodyn("preprocess", copy, "-o", tmp_path / "out.zarr", "--chain", "counts"), copy / place)
    assert not (tmp_path / "out.zarr").exists()
    told = neurodyn("validate", copy)
    assert told.code == 3 and str(copy / place) in told.out + told.err


@pytest.mark.parametrize("place", ["neural/dff/c/0/0", "neural/time/c/0"])
@pytest.mark.parametrize("harm", [flip, lose])
def test_training_does_not_start_on_a_damaged_recording(harm, place, neurodyn, recording, tmp_path):
    copy = Path(shutil.copytree(recording, tmp_path / "a.zarr"))
    harm(copy / place)
    train = ["train", "pca", copy, "-o", tmp_path / "run", "--gpu", "none", "--set", "windows.duration=2"]
    named(neurodyn(*train), copy / place)
    assert not (tmp_path / "run" / "status.json").exists()


@pytest.mark.parametrize("place", ["zarr.json", "neural/zarr.json", "neural/dff/zarr.json", "stimulus/start/zarr.json"])
@pytest.mark.parametrize("harm", [cut, garble])
def test_a_description_in_a_recording(harm, place, neurodyn, recording, tmp_path):
    copy = Path(shutil.copytree(recording, tmp_path / "a.zarr"))
    harm(copy / place)
    named(neurodyn("inspect", copy), copy / place)
    told = neurodyn("validate", copy)
    assert told.code == 3 and str(copy / place) in told.out


@pytest.mark.parametrize("place", ["neural/dff/zarr.json", "stimulus/start/zarr.json", "stimulus/zarr.json"])
def test_a_lost_description_does_not_make_its_data_vanish(place, neurodyn, recording, tmp_path):
    copy = Path(shutil.copytree(recording, tmp_path / "a.zarr"))
    lose(copy / place)
    named(neurodyn("inspect", copy), copy / place)


def test_all_chunks_are_written_so_that_one_can_be_missed(recording, tmp_path):
    from neurodyn.data.recording import Recording

    made = Recording.open(recording)
    flat = made.with_groups({"stimulus": made.tree["stimulus"].to_dataset() * 0, "neural": made.neural * 0})
    folder = flat.save(tmp_path / "flat.zarr")
    arrays = [path.parent for path in folder.rglob("zarr.json") if json.loads(path.read_text())["node_type"] == "array"]
    assert len(arrays) == 6
    assert all((place / "c").exists() for place in arrays)


@pytest.mark.parametrize("harm", [flip, cut, garble, lose])
@pytest.mark.parametrize("place", ["mean/c/0/0/0", "start/c/0"])
def test_a_chunk_of_a_prediction(harm, place, neurodyn, run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    harm(copy / "prediction.zarr" / place)
    if place.startswith("start"):
        named(neurodyn("decode", copy, "--target", "contrast"), copy / "prediction.zarr" / place)
    named(neurodyn("report", copy), copy / "prediction.zarr" / place)


@pytest.mark.parametrize("harm", [flip, cut, garble])
@pytest.mark.parametrize("seed", range(3))
def test_the_weights_of_a_run(harm, seed, neurodyn, run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.rmtree(copy / "prediction.zarr")
    harm(copy / "model.safetensors", seed) if harm is flip else harm(copy / "model.safetensors")
    named(neurodyn("infer", copy, "--gpu", "none"), copy)
    assert not (copy / "prediction.zarr").exists()


@pytest.mark.parametrize("name", ["model.json", "status.json"])
def test_a_record_of_a_run(name, neurodyn, run, tmp_path):
    for harm in (cut, garble):
        copy = Path(shutil.copytree(run, tmp_path / harm.__name__))
        harm(copy / name)
        named(neurodyn("infer", copy, "--gpu", "none"), copy / name)


@pytest.fixture(scope="module")
def interrupted(movie, tmp_path_factory) -> Path:
    """The folder of a training that was killed after its last epoch, and before its products were written."""
    from neurodyn.training.config import load_run_config
    from neurodyn.training.fit import fit

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    fit(*load_run_config("cst-tiny", None, TINY[1::2]), [movie], folder, gpu="none")
    for name in ("status.json", "model.safetensors", "model.json", "metrics.csv"):
        (folder / name).unlink()
    return folder


@pytest.mark.parametrize("harm", [flip, cut, garble])
def test_the_checkpoint_of_a_training(harm, neurodyn, interrupted, movie, tmp_path):
    copy = Path(shutil.copytree(interrupted, tmp_path / "run"))
    checkpoint = copy / "checkpoints" / "last.ckpt"
    harm(checkpoint)
    command = ["train", "cst-tiny", movie, "-o", copy, "--gpu", "none", *TINY]
    outcome = neurodyn(*command)
    named(outcome, checkpoint)
    assert "--existing overwrite" in outcome.err
    again = neurodyn(*command, "--existing", "overwrite")
    assert again.code == 0, again.err


def test_a_changed_weight_in_a_checkpoint_is_found_although_torch_reads_it(neurodyn, interrupted, movie, tmp_path):
    copy = Path(shutil.copytree(interrupted, tmp_path / "run"))
    checkpoint = copy / "checkpoints" / "last.ckpt"
    weights = max(torch.load(checkpoint, weights_only=True)["weights"].values(), key=lambda tensor: tensor.numel())
    data = checkpoint.read_bytes()
    place = data.index(weights.contiguous().numpy().tobytes())
    checkpoint.write_bytes(data[: place + 5] + bytes([data[place + 5] ^ 1]) + data[place + 6 :])
    torch.load(checkpoint, weights_only=True)
    named(neurodyn("train", "cst-tiny", movie, "-o", copy, "--gpu", "none", *TINY), checkpoint)
