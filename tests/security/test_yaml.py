"""YAML is data: tags that name code are refused wherever YAML is read, and aliases cannot fill the memory."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

TAGS = (
    "!!python/object/apply:os.mkdir ['{mark}']",
    "!!python/object/new:os.mkdir ['{mark}']",
    "!!python/object/apply:subprocess.check_call [[mkdir, '{mark}']]",
    "!!python/name:os.mkdir",
    "!!python/module:os",
)
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 14))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 10)}]}}\n" for k in range(1, 9))


def refused(outcome, said: str = "YAML") -> None:
    assert outcome.code == 2, outcome.err
    assert said in outcome.err and "Traceback" not in outcome.err


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(60, 4)))
    return tmp_path


def commands(text: Path, folder: Path) -> list[list[object]]:
    """Return commands that read a YAML file in each of the places where one is read."""
    return [
        ["convert", folder / "a.npy", folder / "a.zarr", "-c", text],
        ["preprocess", folder / "a.npy", "--fs", 10, "-o", folder / "a.zarr", "--chain", text],
        ["train", text, folder / "a.zarr", "-o", folder / "run"],
        ["run", text, "-o", folder / "out"],
        ["show", "model", text],
    ]


def test_the_payload_is_one(tmp_path):
    yaml.unsafe_load(TAGS[0].format(mark=tmp_path / "mark"))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("tag", TAGS)
def test_tags_in_files(tag, neurodyn, files, mark):
    (files / "a.yaml").write_text(f"description: x\nsource: {tag.format(mark=mark)}\n")
    for command in commands(files / "a.yaml", files):
        refused(neurodyn(*command))


@pytest.mark.parametrize("tag", TAGS)
def test_tags_on_the_command_line_and_in_the_environment(tag, neurodyn, files, mark, monkeypatch):
    convert = ["convert", files / "a.npy", files / "a.zarr", "--fs", 10]
    refused(neurodyn(*convert, "--set", f"source.indicator={tag.format(mark=mark)}"), "cannot be read")
    monkeypatch.setenv("NEURODYN_SOURCE__INDICATOR", tag.format(mark=mark))
    refused(neurodyn(*convert), "cannot be read")


def test_tags_in_a_run_folder(neurodyn, run, mark, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    with (copy / "config.yaml").open("a") as file:
        file.write(f"name: {TAGS[0].format(mark=mark)}\n")
    for command in (["infer", copy], ["decode", copy, "--target", "contrast"], ["report", copy]):
        refused(neurodyn(*command))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", [LAUGHS, MERGES, "a: &a {b: *a}"], ids=str.__len__)
def test_aliases_without_end(text, neurodyn, files):
    (files / "a.yaml").write_text(f"description: x\n{text}\n")
    for command in commands(files / "a.yaml", files):
        refused(neurodyn(*command))


def test_lists_in_lists_without_end(neurodyn, files):
    (files / "a.yaml").write_text(f"a: {'[' * 1200}\n")
    refused(neurodyn(*commands(files / "a.yaml", files)[0]), "nested too deeply")


@pytest.mark.parametrize("value", ["2020-99-99", "1" * 5000, "0x_", "!!binary 'a'"])
def test_values_that_are_none(value, neurodyn, files):
    refused(neurodyn("convert", files / "a.npy", files / "a.zarr", "--set", f"source.fs={value}"), "cannot be read")
