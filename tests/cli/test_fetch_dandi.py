"""`neurodyn fetch dandi`: list, filter, fetch, convert and stream, from a server on this machine."""

import json

import numpy as np
import pytest

from neurodyn.cli.fetching import cache_folder
from neurodyn.data.recording import Recording
from neurodyn.fetch import download
from neurodyn.readers.read import read
from tests.fetch.allen_api import Fault
from tests.fetch.dandi_api import DANDISET, VERSION, Dandi
from tests.readers import allen_files, dandi_files

A, B = 501940850, 501800164
PATHS = {kind: dandi_files.coding_path(one, kind) for one, kind in ((A, "A"), (B, "B"))}
QUICK = ("--retries", 0, "--timeout", 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    for one, kind in ((A, "A"), (B, "B")):
        v1 = allen_files.session(folder / f"{one}.nwb", kind, trials=3, experiment=one)
        dandi_files.coding(v1, folder / PATHS[kind])
    return folder


@pytest.fixture
def server(made, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Dandi()
    for path in PATHS.values():
        server.add(path, (made / path).read_bytes())
    server.add("sub-2/sub-2_ses-7_ophys.nwb", b"no HDF5")
    monkeypatch.setenv("NEURODYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEURODYN_DANDI_API", server.api)
    yield server
    server.close()


def cached(path):
    return cache_folder() / "dandi" / DANDISET / path


def test_assets_are_listed(server, neurodyn):
    outcome = neurodyn("fetch", "dandi", DANDISET, "--list")
    lines = outcome.out.splitlines()
    assert outcome.code == 0 and lines[0].split() == ["path", "size", "id"] and len(lines) == 4
    assert f"3 assets, {sum(one.size for one in server.versions[VERSION].values()):,} bytes" in outcome.err
    outcome = neurodyn("fetch", "dandi", f"DANDI:{DANDISET}", "--list", "--json", "--path", "*image*", "--session", A)
    listed = json.loads(outcome.out)
    stored = server.versions[VERSION][PATHS["A"]]
    assert listed["assets"] == [{"path": PATHS["A"], "size": stored.size, "id": stored.id}]
    assert listed["version"] == VERSION
    server.add("sub-3/new.nwb", b"x", draft=True)
    assert "sub-3/new.nwb" in neurodyn("fetch", "dandi", DANDISET, "--version", "draft", "--list").out


def test_files_are_fetched_then_found(server, neurodyn, made):
    arguments = ("fetch", "dandi", DANDISET, "--subject", dandi_files.SUBJECT, *QUICK)
    outcome = neurodyn(*arguments)
    assert outcome.code == 0 and outcome.out.split() == [str(cached(path)) for path in (PATHS["B"], PATHS["A"])]
    assert "2 of 2 assets" in outcome.err
    assert cached(PATHS["A"]).read_bytes() == (made / PATHS["A"]).read_bytes()
    server.log.clear()
    assert neurodyn(*arguments, "--offline").out == outcome.out and server.log == []
    assert neurodyn(*arguments).out == outcome.out
    assert [path for path, _ in server.log] == [f"/api/dandisets/{DANDISET}/"]


def test_offline_makes_no_request(server, neurodyn, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a request was made")

    assert neurodyn("fetch", "dandi", DANDISET, "--list").code == 0
    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    assert neurodyn("fetch", "dandi", DANDISET, "--offline", "--list", "--session", A).code == 0
    outcome = neurodyn("fetch", "dandi", DANDISET, "--offline", "--session", A)
    assert outcome.code == 3 and "--offline allows no request" in outcome.err
    assert neurodyn("fetch", "dandi", "000711", "--offline", "--list").code == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_session_becomes_a_recording_that_names_its_source(server, neurodyn, made, tmp_path, stream):
    how = ("--stream",) if stream else ()
    arguments = ("fetch", "dandi", DANDISET, "--session", A, "--convert", "-o", tmp_path / "out", *QUICK, *how)
    target = (tmp_path / "out" / PATHS["A"]).with_suffix(".zarr")
    outcome = neurodyn(*arguments)
    assert outcome.code == 0 and outcome.out.split() == [str(target)]
    recording, local = Recording.open(target), read(made / PATHS["A"])
    for name in local.variables:
        np.testing.assert_array_equal(recording[name], local[name])
    stored = server.versions[VERSION][PATHS["A"]]
    expected = {"dandiset": f"DANDI:{DANDISET}", "dandiset_version": VERSION, "asset_path": PATHS["A"]}
    expected |= {"asset_id": stored.id, "asset_sha256": stored.sha256, "container_id": 511510688}
    expected |= {"source": f"DANDI:{DANDISET}/{VERSION}/{PATHS['A']}"}
    assert {name: recording.tree.attrs[name] for name in expected} == expected
    assert (recording.tree.attrs.get("source_sha256") == stored.sha256) != stream
    assert cached(PATHS["A"]).exists() != stream
    again = neurodyn(*arguments)
    assert again.code == 0 and "is up to date" in again.err and again.out == outcome.out
    others = [one for one in ("--stream",) if one not in how]
    assert "is up to date" in neurodyn(*arguments[: len(arguments) - len(how)], *others).err
    assert neurodyn(*arguments, "--set", "source.skip=[spontaneous]").code == 2
    assert neurodyn(*arguments, "--set", "source.skip=[spontaneous]", "--existing", "overwrite").code == 0
    assert "spontaneous" not in Recording.open(target).stimulus["stimulus"]


@pytest.mark.parametrize("stream", [False, True])
def test_static_gratings_that_are_not_whole_end_in_exit_code_3(server, neurodyn, tmp_path, stream):
    how = ("--stream",) if stream else ()
    arguments = (
        "fetch",
        "dandi",
        DANDISET,
        "--subject",
        dandi_files.SUBJECT,
        "--convert",
        "-o",
        tmp_path / "out",
        *QUICK,
        *how,
    )
    outcome = neurodyn(*arguments)
    lines = outcome.err.strip().splitlines()[-3:]
    assert outcome.code == 3 and "static gratings are not whole" in lines[0]
    assert f"neurodyn fetch allen --experiment {B}" in lines[2] and "source.skip=[static_gratings]" in lines[2]
    assert outcome.out.split() == [str((tmp_path / "out" / PATHS["A"]).with_suffix(".zarr"))]  # the other one came
    assert not (tmp_path / "out" / PATHS["B"]).with_suffix(".zarr").exists()
    skip = ("--session", B, "--set", "source.skip=[static_gratings]")
    assert neurodyn(*arguments[:3], *skip, *arguments[5:]).code == 0


def test_a_dry_run_fetches_nothing(server, neurodyn, tmp_path):
    for how, suffix in ((("--convert", "--stream"), ".zarr"), ((), ".nwb")):
        arguments = ("fetch", "dandi", DANDISET, "--session", A, "-o", tmp_path / "out", "--dry-run", *how)
        outcome = neurodyn(*arguments)
        target = (tmp_path / "out" / PATHS["A"]).with_suffix(suffix)
        assert outcome.code == 0 and outcome.out.strip() == f"{PATHS['A']} -> {target}"
    assert not (tmp_path / "out").exists() and all("/api/dandisets/" in path for path, _ in server.log)


@pytest.mark.parametrize("wrong", ["length", "checksum", "cut", "content"])
def test_what_is_wrong_with_a_download_ends_in_exit_code_3(server, neurodyn, made, wrong):
    stored = server.versions[VERSION][PATHS["A"]]
    body = bytearray((made / PATHS["A"]).read_bytes())
    said = {"length": "is not sub-", "checksum": "wrong checksum", "cut": "wrong length", "content": "is in no format"}
    path = PATHS["A"]
    if wrong == "length":
        server.files[stored.blob] = bytes(body[:-7])
    elif wrong == "checksum":
        body[len(body) // 2] ^= 1
        server.files[stored.blob] = bytes(body)
    elif wrong == "cut":
        server.always[stored.blob] = Fault(cut=1000)
    else:
        path = "sub-2/sub-2_ses-7_ophys.nwb"
    outcome = neurodyn("fetch", "dandi", DANDISET, "--path", path, "--convert", *QUICK)
    assert outcome.code == 3 and outcome.out == ""
    if wrong != "content":
        assert said[wrong] in outcome.err.strip().splitlines()[-3]
        assert not cached(path).exists()
    assert not list(cache_folder().rglob("*.zarr"))


def test_a_fetched_file_is_read_by_the_other_verbs(server, neurodyn, tmp_path):
    assert neurodyn("fetch", "dandi", DANDISET, "--session", A, "-o", tmp_path, *QUICK).code == 0
    assert neurodyn("convert", tmp_path / PATHS["A"], tmp_path / "a.zarr").code == 0
    recording = Recording.open(tmp_path / "a.zarr")
    assert recording.session == str(A) and recording.history[0]["step"] == "read allen"


def test_bad_usage(server, neurodyn):
    outcome = neurodyn("fetch", "dandi", DANDISET)
    assert outcome.code == 2 and "Which assets?" in outcome.err
    assert neurodyn("fetch", "dandi").code == 2
    assert neurodyn("fetch", "dandi", "mice", "--list").code == 2
    assert neurodyn("fetch", "dandi", DANDISET, "--path", "*", "--stream").code == 2
    assert neurodyn("fetch", "dandi", DANDISET, "--path", "*", "--stream", "--convert", "--offline").code == 2
    assert neurodyn("fetch", "dandi", DANDISET, "--session", 7777, *QUICK).code == 3
    assert neurodyn("fetch", "dandi", "000999", "--list", *QUICK).code == 1
