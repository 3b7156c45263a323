"""Configuration: layers and their order, origins, line numbers, helpful errors."""

from pathlib import Path

import pytest
from pydantic import Field

from neurodyn.core import config
from neurodyn.core.config import (
    Layer,
    Params,
    build,
    find_preset,
    layer_from_environment,
    layer_from_sets,
    list_presets,
    load_yaml,
    resolve,
    validate,
)
from neurodyn.core.errors import ConfigError, DataError, UnknownNameError


class Training(Params):
    """Inner."""

    epochs: int = Field(10, ge=1)
    rate: float = 0.1


class Whole(Params):
    """Outer."""

    name: str = "a"
    training: Training = Training()
    sizes: tuple[int, ...] = (1, 2)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_later_layers_win_key_by_key(tmp_path):
    preset = load_yaml(
        write(tmp_path / "preset.yaml", "name: b\ntraining:\n  epochs: 20\n  rate: 0.5\nsizes: [4, 5, 6]\n")
    )
    user = load_yaml(write(tmp_path / "user.yaml", "training:\n  epochs: 30\n"))
    environment = layer_from_environment({"NEURODYN_TRAINING__EPOCHS": "40", "NEURODYN_CACHE": "x", "HOME": "/h"})
    sets = layer_from_sets(["sizes=[7]", "training.rate=1e-2"])
    resolved = resolve([preset, user, *environment, *sets])
    assert validate(Whole, resolved) == Whole(name="b", training=Training(epochs=40, rate=0.01), sizes=(7,))


def test_every_value_knows_its_origin_and_line(tmp_path):
    path = write(tmp_path / "preset.yaml", "# comment\nname: b\n\ntraining:\n  epochs: 20\n")
    resolved = resolve([load_yaml(path), *layer_from_sets(["training.rate=2"])])
    assert resolved.origins[("name",)] == f"{path}:2"
    assert resolved.origins[("training", "epochs")] == f"{path}:5"
    assert resolved.origins[("training", "rate")] == "--set training.rate=2"


def test_layers_do_not_change_each_other():
    first, second = Layer({"training": {"epochs": 1}}, "one"), Layer({"training": {"rate": 2.0}}, "two")
    resolve([first, second])
    assert first.values == {"training": {"epochs": 1}}


def test_an_unknown_key_names_line_neighbour_and_list(tmp_path):
    path = write(tmp_path / "user.yaml", "training:\n  rate: 1.0\n  epoch: 3\n")
    with pytest.raises(ConfigError) as caught:
        validate(Whole, resolve([load_yaml(path)]))
    what, found, fix = str(caught.value).splitlines()
    assert what == f"{path}:3: unknown key 'training.epoch'."
    assert found == "Known: epochs, rate."
    assert fix == "Did you mean 'epochs'?"


def test_a_bad_value_names_line_value_and_reason(tmp_path):
    path = write(tmp_path / "user.yaml", "training:\n  rate: fast\n  epochs: 0\n")
    with pytest.raises(ConfigError) as caught:
        validate(Whole, resolve([load_yaml(path)]))
    assert f"{path}:3: 'training.epochs' is not valid (1 more)" in caught.value.what
    assert "Found 0" in caught.value.found
    assert "--set training.epochs=" in caught.value.fix


def test_a_prefix_is_part_of_the_key_path():
    resolved = resolve(layer_from_sets(["model.training.epochs=none"]))
    with pytest.raises(ConfigError, match=r"--set model\.training\.epochs=none: 'model\.training\.epochs'"):
        validate(Whole, resolved, ("model",))
    assert validate(Whole, resolve([]), ("model",)) == Whole()


def test_a_mapping_where_a_value_belongs_and_the_reverse():
    with pytest.raises(ConfigError, match="'training'"):
        build(Whole, {"training": 3}, "here")
    with pytest.raises(ConfigError, match=r"here: 'name'"):
        build(Whole, {"name": {"a": 1}}, "here")


@pytest.mark.parametrize("item", ["epochs", "=3", "a=[1", "a={"])
def test_sets_that_cannot_be_read(item):
    with pytest.raises(ConfigError, match="--set"):
        layer_from_sets([item])


def test_environment_values_that_cannot_be_read():
    with pytest.raises(ConfigError, match="NEURODYN_SIZES__A cannot be read"):
        layer_from_environment({"NEURODYN_SIZES__A": "[1"})


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: [1\n", "not valid YAML"), ("- 1\n", "not a mapping"), ("", "not a mapping")]
)
def test_files_that_are_no_mapping(text, line, tmp_path):
    with pytest.raises(ConfigError, match=line):
        load_yaml(write(tmp_path / "a.yaml", text))


def test_yaml_never_builds_objects(tmp_path):
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_yaml(write(tmp_path / "a.yaml", "a: !!python/object/apply:os.getcwd []\n"))


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin1"))
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(DataError, match="Cannot read"):
            load_yaml(path)


def test_params_are_frozen_and_closed():
    with pytest.raises(ValueError, match="frozen"):
        Whole().name = "b"
    with pytest.raises(ValueError, match="Extra inputs"):
        Whole(names="b")


def test_presets_of_the_working_folder_come_before_the_packaged_ones(tmp_path, monkeypatch):
    packaged = tmp_path / "packaged"
    for folder in (packaged / "models", tmp_path / "models"):
        folder.mkdir(parents=True)
    write(packaged / "models" / "cst.yaml", "a: 1\n")
    write(packaged / "models" / "lfads.yaml", "a: 1\n")
    write(tmp_path / "models" / "cst.yaml", "a: 2\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "packaged", lambda name: packaged / name)
    assert sorted(list_presets("model")) == ["cst", "lfads"]
    assert find_preset("model", "cst") == tmp_path / "models" / "cst.yaml"
    assert find_preset("model", "models/cst.yaml") == Path("models/cst.yaml")
    with pytest.raises(UnknownNameError, match="Did you mean 'lfads'"):
        find_preset("model", "lfad")
    with pytest.raises(DataError, match="does not exist"):
        find_preset("model", "absent.yaml")
