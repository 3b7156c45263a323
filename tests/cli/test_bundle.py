"""`--debug` leaves what a bug report needs, and nothing that is nobody's business."""

import json
import zipfile

import numpy as np
import pytest

SECRETS = ("hunter2", "swordfish", "0.123456789", "Curie-1867", "tok-55")


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A command that fails with a fault, in a home folder, with secrets around."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("DANDI_API_KEY", "swordfish")
    monkeypatch.setenv("NEURODYN_TOKEN", "tok-55")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_JWT", "tok-55")
    monkeypatch.setattr("neurodyn.cli.console.CONSOLE.debug", False)
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.full((60, 4), 0.123456789))
    (tmp_path / "subject.yaml").write_text("source: {fs: 10, session: mouse 7}\n")

    def fail(self, path):
        values = self["fluorescence"].values  # a local variable with data in it
        from neurodyn.core.log import LOGGER

        LOGGER.info("reading %s for %d frames", path, len(values))
        raise RuntimeError(f"unforeseen in {path}, from https://curie:Curie-1867@lab.org/x?token=tok-55")

    monkeypatch.setattr("neurodyn.data.recording.Recording.save", fail)
    return ["convert", tmp_path / "a.npy", tmp_path / "b.zarr", "-c", "subject.yaml"]


def test_it_holds_command_traceback_versions_and_log_and_no_data_or_secrets(failing, neurodyn, tmp_path):
    outcome = neurodyn(*failing, "--debug")
    assert outcome.code == 1 and "Traceback" in outcome.err
    (path,) = tmp_path.glob("neurodyn-debug-*.zip")
    assert str(path) in outcome.err
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(parts) == {"command.txt", "traceback.txt", "configuration.json", "system.json", "log.txt"}
    assert parts["command.txt"].startswith("neurodyn 'convert' '~/a.npy'")
    assert "unforeseen in ~/b.zarr, from https://***@lab.org" in parts["traceback.txt"]
    assert "tests/cli/test_bundle.py" in parts["traceback.txt"]
    assert "reading ~/b.zarr for 60 frames" in parts["log.txt"]
    system = json.loads(parts["system.json"])
    assert {"neurodyn", "python", "torch", "zarr"} <= set(system["versions"])
    assert system["environment"] == {"SLURM_JOB_ID": "4711"}
    whole = "\n".join(parts.values())
    assert str(tmp_path) not in whole
    assert not [secret for secret in SECRETS if secret in whole]


def test_the_configuration_is_in_it_where_there_is_one(neurodyn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neurodyn.cli.console.CONSOLE.debug", False)
    (tmp_path / "c.yaml").write_text("source: {fs: -3, password: hunter2}\n")
    assert neurodyn("inspect", tmp_path, "-c", "c.yaml", "--debug").code == 2
    (path,) = tmp_path.glob("neurodyn-debug-*.zip")
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("configuration.json"))
        whole = "".join(archive.read(name).decode() for name in archive.namelist())
    assert told["values"] == {"source": {"fs": -3, "password": "***"}}
    assert told["origins"]["source.fs"] == "c.yaml:1"
    assert "hunter2" not in whole


def test_without_debug_there_is_none(failing, neurodyn, tmp_path):
    outcome = neurodyn(*failing)
    assert outcome.code == 1 and "Traceback" not in outcome.err
    assert list(tmp_path.glob("neurodyn-debug-*")) == []


def test_a_folder_that_cannot_be_written_to_hides_no_error(failing, neurodyn, monkeypatch):
    monkeypatch.chdir("/sys")
    outcome = neurodyn(*failing[:-2], "--fs", 10, "--debug")
    assert outcome.code == 1
    assert "No file for a bug report: Cannot write" in outcome.err and "unforeseen" in outcome.err.splitlines()[-3]
