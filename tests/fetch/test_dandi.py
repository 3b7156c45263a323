"""The DANDI archive, from a server on this machine: listed in pages, fetched whole, resumed, streamed."""

import json
import logging
import sys

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO

from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.data.recording import Recording
from neurodyn.fetch import download
from neurodyn.fetch.dandi import Archive, Selection, parse_dandiset
from neurodyn.fetch.download import Link
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read
from neurodyn.readers.streamed import streaming
from tests.fetch.allen_api import Fault
from tests.fetch.dandi_api import DANDISET, VERSION, Dandi
from tests.readers import allen_files, dandi_files

BODY = np.random.default_rng(0).bytes(400_000)
LINK = Link(timeout=5, retries=3, pause=0.001)
ONCE = Link(timeout=5, retries=0)
A, B = 501940850, 501800164


def start(monkeypatch, **options):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return Dandi(**options)


@pytest.fixture
def server(monkeypatch):
    server = start(monkeypatch, page=4)
    for subject in range(3):
        for session in (1, 2, 3):
            path = f"sub-{subject}/sub-{subject}_ses-{subject}{session}-StimA_behavior+image+ophys.nwb"
            server.add(path, f"{subject}{session}".encode() * 10)
    server.add("sub-7/sub-7_ses-70_ophys.nwb", BODY)
    yield server
    server.close()


@pytest.fixture
def archive(server, tmp_path):
    return Archive(LINK, tmp_path / "answers", server.api)


def chosen(archive, **conditions):
    wanted = Selection(**conditions)
    return wanted.of(archive.assets(DANDISET, VERSION, wanted.pattern))


def one(archive, path="sub-7/*"):
    return chosen(archive, path=path)[0]


def test_every_page_of_a_listing_is_asked_for(server, monkeypatch, tmp_path):
    monkeypatch.setattr("neurodyn.fetch.dandi.PAGE", 4)
    archive = Archive(LINK, tmp_path, server.api)
    assets = archive.assets(DANDISET, VERSION)
    assert [asset.path for asset in assets] == sorted(server.versions[VERSION])
    assert {(asset.path, asset.size, asset.id) for asset in assets} == {
        (stored.path, stored.size, stored.id) for stored in server.versions[VERSION].values()
    }
    assert [query.split("page=")[1].split("&")[0] for query in server.queries()] == ["1", "2", "3"]
    assert all("glob" not in query for query in server.queries())
    assert archive.assets(DANDISET, VERSION) == assets and len(server.queries()) == 3


def test_a_listing_that_is_not_whole_is_refused_and_not_kept(archive, tmp_path):
    # the server cuts pages shorter than was asked
    with pytest.raises(DataError, match="listing of 000728 is not whole(.|\n)*4 of 10"):
        archive.assets(DANDISET, VERSION)
    assert not list(tmp_path.rglob("assets-*"))


@pytest.fixture
def whole(server):
    server.page = 1000
    return server


def test_conditions_hold_together_and_the_server_is_asked_for_a_pattern(whole, archive):
    assert [asset.session for asset in chosen(archive, subjects=("1",))] == ["11-StimA", "12-StimA", "13-StimA"]
    assert [asset.session for asset in chosen(archive, sessions=("21",))] == ["21-StimA"]
    assert len(chosen(archive, path="SUB-0/*+image+*", sessions=("01", "02"))) == 2
    assert [asset.path[:5] for asset in chosen(archive, sessions=("02", "21-StimA"))] == ["sub-0", "sub-2"]
    assert len(chosen(archive, subjects=("0", "7"))) == 4 and len(chosen(archive, path="*.nwb")) == 10
    patterns = [query.split("glob=")[1] if "glob=" in query else "*" for query in whole.queries()]
    assert patterns == ["*sub-1*", "*ses-21*", "SUB-0/*+image+*", "*"]  # the whole listing serves what comes after it
    with pytest.raises(DataError, match="No asset meets all conditions"):
        chosen(archive, subjects=("1",), sessions=("02",))


def test_the_last_published_version_or_the_draft(whole, archive):
    assert archive.version(DANDISET) == VERSION
    whole.published = None
    assert archive.version(DANDISET) == "draft"
    whole.add("sub-9/new.nwb", b"x", draft=True)
    assert [asset.path for asset in archive.assets(DANDISET, "draft")] == ["sub-9/new.nwb"]
    whole.add("sub-9/newer.nwb", b"xy", draft=True)
    assert len(archive.assets(DANDISET, "draft")) == 2  # a draft may change


@pytest.mark.parametrize("text", ["728", "000728", "DANDI:000728", "dandi:728"])
def test_numbers_of_dandisets(text):
    assert parse_dandiset(text) == "000728"
    with pytest.raises(ConfigError, match="is no dandiset"):
        parse_dandiset(f"{text}/draft")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"asset_id": "a", "path": "../b", "size": 1, "zarr": None},
        {"asset_id": "a", "path": "/etc/b", "size": 1, "zarr": None},
        {"asset_id": "a", "path": "a/b", "size": None, "zarr": None},
    ],
)
def test_a_listing_of_another_form_is_refused_and_not_kept(whole, archive, tmp_path, row, monkeypatch):
    reply = {"count": 1, "next": None, "results": [row]}
    monkeypatch.setattr(whole, "answer", lambda _: json.dumps(reply).encode())
    with pytest.raises(DataError, match="no form neurodyn knows"):
        archive.assets(DANDISET, VERSION)
    assert not list(tmp_path.rglob("assets-*"))


def test_a_file_is_fetched_through_the_redirection_and_found_again(whole, archive, tmp_path):
    asset, told = one(archive), []
    target = tmp_path / "out" / asset.path
    assert archive.fetch(asset, target, lambda *both: told.append(both)) == target
    assert target.read_bytes() == BODY and told[-1] == (len(BODY), len(BODY))
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    whole.log.clear()
    assert Archive(Link(offline=True), archive.cache, archive.api).fetch(asset, target) == target
    assert archive.fetch(asset, target) == target and whole.log == []


@pytest.mark.parametrize("cut", np.random.default_rng(3).integers(1, len(BODY), 8).tolist())
def test_a_cut_download_goes_on_at_the_byte_it_stopped(whole, archive, tmp_path, cut):
    asset, target = one(archive), tmp_path / "a.nwb"
    blob = whole.versions[VERSION][asset.path].blob
    whole.always[blob] = Fault(cut=cut)
    with pytest.raises(DataError, match="wrong length"):
        Archive(ONCE, archive.cache, archive.api).fetch(asset, target)
    assert not target.exists() and target.with_name("a.nwb.part").read_bytes() == BODY[:cut]
    whole.always.clear()
    whole.log.clear()
    assert archive.fetch(asset, target).read_bytes() == BODY
    assert whole.asked(blob) == [f"bytes={cut}-"]


def test_passing_failures_of_api_and_storage_are_outlived(whole, archive, tmp_path):
    asset = whole.versions[VERSION]["sub-7/sub-7_ses-70_ophys.nwb"]
    for path in (asset.metadata, asset.download, f"/api/dandisets/{DANDISET}/versions/{VERSION}/assets/"):
        whole.faults[path] = [Fault(status=500), Fault(status=503)]
    whole.faults[asset.blob] = [Fault(status=500)]
    assert archive.fetch(one(archive), tmp_path / "a.nwb").read_bytes() == BODY
    whole.always[asset.download] = Fault(status=500)
    with pytest.raises(WorkError, match="refuses(.|\n)*500"):
        archive.fetch(one(archive), tmp_path / "b.nwb")
    assert len(whole.asked(asset.download)) == 4 + 4  # through at the fourth try; then four in vain
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nwb", "answers"]


@pytest.mark.parametrize("wrong", ["content", "length"])
def test_what_is_not_the_asset_gets_no_name(whole, archive, tmp_path, wrong):
    asset = one(archive)
    blob = whole.versions[VERSION][asset.path].blob
    whole.files[blob] = BODY[:-1] + b"?" if wrong == "content" and BODY[-1:] != b"?" else BODY[:-5]
    with pytest.raises(DataError, match="wrong checksum" if wrong == "content" else "399,995 of 400,000") as caught:
        archive.fetch(asset, tmp_path / "out" / "a.nwb")
    assert caught.value.exit_code == 3 and list((tmp_path / "out").iterdir()) == []


def test_another_file_under_the_name_is_told_and_fetched_again(whole, archive, tmp_path, caplog):
    target = tmp_path / "a.nwb"
    target.write_bytes(BODY[:-1] + b"!")
    with caplog.at_level(logging.WARNING):
        assert archive.fetch(one(archive), target).read_bytes() == BODY
    assert "It is fetched again" in caplog.text


def test_without_a_stated_checksum_the_length_is_compared(whole, archive, tmp_path, caplog):
    whole.add("sub-8/a.nwb", b"12345", stated=False)
    with caplog.at_level(logging.WARNING):
        assert archive.fetch(one(archive, "sub-8/*"), tmp_path / "a.nwb").read_bytes() == b"12345"
    assert "states no SHA-256" in caplog.text


def test_a_zarr_asset_is_refused(whole, archive, tmp_path):
    whole.add("sub-8/a.nwb.zarr", b"", zarr=True)
    asset = one(archive, "sub-8/*")
    with pytest.raises(DataError, match="is a Zarr folder"):
        archive.fetch(asset, tmp_path / "a")
    with pytest.raises(DataError, match="is a Zarr folder"), archive.streamed(asset):
        pass


def test_offline_makes_no_request(whole, archive, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a request was made")

    assert archive.version(DANDISET) == VERSION
    asset = one(archive)
    archive.fetch(asset, tmp_path / "a.nwb")
    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    offline = Archive(Link(offline=True), archive.cache, archive.api)
    assert offline.version(DANDISET) == VERSION and one(offline) == asset
    assert offline.fetch(asset, tmp_path / "a.nwb").read_bytes() == BODY
    for ask in (
        lambda: offline.fetch(asset, tmp_path / "b.nwb"),
        lambda: offline.assets(DANDISET, VERSION),
        lambda: offline.version("000711"),
        lambda: offline.streamed(asset).__enter__(),
    ):
        with pytest.raises(DataError, match="--offline allows no request"):
            ask()


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    paths = {}
    for experiment, kind in ((A, "A"), (B, "B")):
        one = allen_files.session(folder / f"{experiment}.nwb", kind, experiment=experiment, cells=40)
        paths[kind] = dandi_files.coding(one, folder / dandi_files.coding_path(experiment, kind))
    dandi_files.behavior(folder / "behavior.nwb")
    return paths | {"behavior": folder / "behavior.nwb"}


@pytest.mark.parametrize("kind", ["A", "behavior"])
def test_a_streamed_session_is_the_downloaded_one(server, archive, sessions, tmp_path, kind):
    server.page = 1000
    stored = server.add(f"sub-1/{kind}.nwb", sessions[kind].read_bytes())
    local = read(sessions[kind])
    server.log.clear()
    asset = one(archive, f"*{kind}.nwb")
    with (
        archive.streamed(asset) as file,
        streaming(file, sessions[kind], ReadOptions()) as recording,
    ):
        part = recording["dff"][5:9, 2].values
        few = len(server.asked(stored.blob))
        saved = Recording.open(recording.save(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(part, local["dff"][5:9, 2])
    for name in local.variables:
        np.testing.assert_array_equal(saved[name], local[name])
    for group in ("stimulus", "behavior", "rois"):
        for name, column in local.table(group).variables.items():
            np.testing.assert_array_equal(saved.table(group)[name], column)
    assert {name: value for name, value in saved.tree.attrs.items() if name != "history"} == {
        name: value for name, value in local.tree.attrs.items() if name != "history"
    }
    assert few <= 30 and len(server.asked(stored.blob)) <= 60
    assert len(server.asked(stored.download)) == 1  # the redirection is followed once
    assert all(ranged is not None for ranged in server.asked(stored.blob))


def test_any_other_nwb_file_is_streamed_by_the_general_reader(server, archive, tmp_path):
    from neurodyn.readers.nwb.writing import write_nwb

    values = np.random.default_rng(1).normal(size=(500, 6))
    path = write_nwb(Recording.from_arrays({"dff": values}, rate_hz=20.0), tmp_path / "a.nwb")
    server.page = 1000
    server.add("sub-1/other.nwb", path.read_bytes())
    with (
        archive.streamed(one(archive, "*other.nwb")) as file,
        streaming(file, path, ReadOptions(session="s")) as recording,
    ):
        np.testing.assert_array_equal(recording.save(tmp_path / "b.zarr") and recording["dff"], values)
    np.testing.assert_array_equal(Recording.open(tmp_path / "b.zarr")["dff"], values)


def test_a_stream_that_breaks_off_leaves_nothing(server, archive, sessions, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # remfile's pauses
    server.page = 1000
    stored = server.add("sub-1/a.nwb", sessions["A"].read_bytes())
    with (
        pytest.raises(WorkError, match=r"sub-1/a\.nwb cannot be streamed any further"),
        archive.streamed(one(archive, "*/a.nwb")) as file,
        streaming(file, sessions["A"], ReadOptions()) as recording,
    ):
        server.always[stored.blob] = Fault(status=404)
        recording.save(tmp_path / "a.zarr")
    assert [path.name for path in tmp_path.iterdir() if "zarr" in path.name] == []


def test_what_cannot_be_streamed_is_refused(server, archive, sessions, tmp_path):
    server.page = 1000
    with pytest.raises(DataError, match="is no HDF5 file"), archive.streamed(one(archive)):
        pass
    bad = tmp_path / "bad.nwb"
    dandi_files.behavior(bad)
    with h5py.File(bad, "r+") as file:
        del file["processing/ophys/image_segmentation/cell_specimen_table/cell_specimen_id"]
    with (
        h5py.File(bad) as file,
        pytest.raises(DataError, match=r"bad\.nwb cannot be read(.|\n)*cell_specimen_id"),
        streaming(file, bad, ReadOptions()),
    ):
        pass
    with (
        h5py.File(sessions["A"]) as file,
        pytest.raises(ConfigError, match="nothing lies beside"),
        streaming(file, sessions["A"], ReadOptions(stimulus={"file": "log.csv"})),
    ):
        pass
    with (
        h5py.File(sessions["A"]) as file,
        pytest.raises(ConfigError, match="no use for: variables"),
        streaming(file, sessions["A"], ReadOptions(variables={"dff": VariablePlace()})),
    ):
        pass


def test_streaming_without_remfile_names_the_extra(server, archive, monkeypatch):
    server.page = 1000
    monkeypatch.setitem(sys.modules, "remfile", None)
    with pytest.raises(ConfigError, match=r"neurodyn\[dandi\]"), archive.streamed(one(archive)):
        pass


def test_the_fixtures_are_nwb_2_to_pynwb(sessions):
    for kind in ("A", "B"):
        with NWBHDF5IO(sessions[kind], "r") as io:
            assert io.read().processing["ophys"]["DfOverF"]["DfOverF"].data.ndim == 2
