"""`neurodyn fetch allen`: list, filter, fetch and convert, from a server on this machine."""

import json

import numpy as np
import pytest

from neurodyn.cli.fetching import cache_folder
from neurodyn.data.recording import Recording
from neurodyn.fetch import download
from neurodyn.readers.read import read
from tests.fetch import allen_api
from tests.fetch.allen_api import Fault, download_path, mirror_path

A, B = 501940850, 501800164
QUICK = ("--retries", 0, "--timeout", 5)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    server = allen_api.observatory(tmp_path_factory.mktemp("sessions"), (A, B))
    server.close()
    return server.files


@pytest.fixture
def server(files, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = allen_api.Server()
    server.files = dict(files)
    monkeypatch.setenv("NEURODYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEURODYN_ALLEN_API", server.url)
    monkeypatch.setenv("NEURODYN_ALLEN_MIRROR", server.mirror)
    yield server
    server.close()


def test_experiments_and_containers_are_listed(server, neurodyn):
    outcome = neurodyn(
        "fetch",
        "allen",
        "--list",
        "experiments",
        "--area",
        "VISp",
        "--depth",
        "175,275",
        "--stimulus",
        "drifting_gratings",
    )
    lines = outcome.out.splitlines()
    assert outcome.code == 0 and lines[0].split()[:3] == ["id", "container", "session_type"]
    assert [line.split()[0] for line in lines[1:]] == ["502115959", str(A)]
    outcome = neurodyn("fetch", "allen", "--list", "containers", "--json")
    listed = json.loads(outcome.out)["containers"]
    assert [row["container"] for row in listed] == [511507650, 511510688, 511510718]
    assert listed[1]["experiments"] == f"A:{A} B:{B} C:502383036"
    assert server.asked("query") == [None]


def test_sessions_are_fetched_then_found(server, neurodyn, tmp_path):
    arguments = ("fetch", "allen", "--container", 511510688, "--session-type", "A,B", *QUICK)
    outcome = neurodyn(*arguments)
    paths = [str(cache_folder() / "allen" / f"{one}.nwb") for one in (A, B)]
    assert outcome.code == 0 and outcome.out.split() == paths
    assert "2 of 2 sessions" in outcome.err
    assert read(cache_folder() / "allen" / f"{A}.nwb").session == str(A)
    server.log.clear()
    assert neurodyn(*arguments, "--offline").out.split() == paths
    assert neurodyn(*arguments).out.split() == paths
    assert server.log == []


def test_offline_makes_no_request(server, neurodyn, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a request was made")

    assert neurodyn("fetch", "allen", "--list", "experiments").code == 0
    server.log.clear()
    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    assert neurodyn("fetch", "allen", "--offline", "--list", "containers").code == 0
    outcome = neurodyn("fetch", "allen", "--offline", "--experiment", A)
    assert outcome.code == 3 and f"Experiment {A} is not in the cache" in outcome.err
    (cache_folder() / "allen" / "ophys_experiments.json").unlink()
    assert neurodyn("fetch", "allen", "--offline", "--list", "containers").code == 3
    assert server.log == []


def test_sessions_become_recordings(server, neurodyn, tmp_path):
    arguments = ("fetch", "allen", "--experiment", f"{A},{B}", "--convert", "-o", tmp_path / "out", *QUICK)
    outcome = neurodyn(*arguments)
    assert outcome.code == 0 and outcome.out.split() == [str(tmp_path / "out" / f"{one}.zarr") for one in (A, B)]
    recording = Recording.open(tmp_path / "out" / f"{B}.zarr")
    source = read(cache_folder() / "allen" / f"{B}.nwb")
    np.testing.assert_array_equal(recording["corrected"].values, source["corrected"].values)
    assert recording.tree.attrs["source_sha256"] and set(recording.stimulus["stimulus"].values) >= {"static_gratings"}
    again = neurodyn(*arguments)
    assert again.code == 0 and again.err.count("is up to date") == 2
    assert neurodyn(*arguments, "--set", "source.templates=true").code == 2
    assert neurodyn(*arguments, "--set", "source.templates=true", "--existing", "overwrite").code == 0
    assert "template_natural_scenes" in Recording.open(tmp_path / "out" / f"{B}.zarr").table("stimulus")


def test_a_dry_run_fetches_nothing(server, neurodyn, tmp_path):
    outcome = neurodyn("fetch", "allen", "--experiment", A, "-o", tmp_path / "out", "--dry-run")
    assert outcome.code == 0 and outcome.out.strip() == f"{A} -> {tmp_path / 'out' / f'{A}.nwb'}"
    assert [path for path, _ in server.log] == ["query"]


def test_one_failure_spares_the_others_and_is_told(server, neurodyn):
    outcome = neurodyn("fetch", "allen", "--container", 511510688, *QUICK)
    assert outcome.code == 1 and outcome.err.splitlines()[-3].startswith("Error: ")
    assert [line.rsplit("/", 1)[1] for line in outcome.out.split()] == [f"{A}.nwb", f"{B}.nwb"]


@pytest.mark.parametrize("wrong", ["length", "checksum", "disk", "content"])
def test_what_is_wrong_with_a_download_ends_in_exit_code_3(server, neurodyn, monkeypatch, wrong):
    faults = {"length": Fault(extra=10, ranges=False), "checksum": Fault(digest="wrong")}
    for path in (download_path(A), mirror_path(A)):
        server.always[path] = faults.get(wrong, Fault())
        server.files[path] = b"nothing" if wrong == "content" else server.files[path]
    if wrong == "disk":
        free = type("usage", (), {"free": 10})
        monkeypatch.setattr(download.shutil, "disk_usage", lambda _: free)
    outcome = neurodyn("fetch", "allen", "--experiment", A, *QUICK)
    lines = outcome.err.strip().splitlines()[-3:]
    said = {
        "length": "wrong length",
        "checksum": "wrong checksum",
        "disk": "disk is full",
        "content": "no readable session",
    }
    assert outcome.code == 3 and lines[0].startswith("Error: ") and said[wrong] in lines[0]
    assert not (cache_folder() / "allen" / f"{A}.nwb").exists()
    assert (len(server.asked(mirror_path(A))) == 0) == (wrong == "disk")


def test_the_sdk_is_asked_where_it_is_named(server, neurodyn, tmp_path, monkeypatch):
    script = tmp_path / "uv"
    script.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 2\n")
    script.chmod(0o755)
    monkeypatch.setattr("neurodyn.fetch.allensdk.find_uv", lambda _: str(script))
    outcome = neurodyn("fetch", "allen", "--experiment", A, "--backend", "allensdk")
    assert outcome.code == 1 and "Allen SDK did not answer" in outcome.err and server.log == []
    assert neurodyn("fetch", "allen", "--experiment", A, "--convert").code == 0
    outcome = neurodyn("fetch", "allen", "--experiment", A, "--backend", "allensdk", "--offline")
    assert outcome.code == 0 and outcome.out.split() == [str(cache_folder() / "allen" / f"{A}.nwb")]


def test_bad_usage(server, neurodyn):
    assert neurodyn("fetch", "allen").code == 2
    assert "half a terabyte" in neurodyn("fetch", "allen").err
    assert neurodyn("fetch", "sample", "--area", "VISp").code == 2
    assert neurodyn("fetch", "allen", "--depth", "deep").code == 2
    outcome = neurodyn("fetch", "allen", "--area", "VISP")
    assert outcome.code == 2 and "Did you mean 'VISp'?" in outcome.err
    assert neurodyn("fetch", "all").code == 2
    assert neurodyn("fetch").code == 2
    assert neurodyn("fetch", "sample", "--dry-run").code == 0
