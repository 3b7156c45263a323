"""Neurodyn's reader beside the Allen Institute's own SDK: bit for bit; and the SDK as a second way to sessions."""

import json

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.data.recording import Recording
from neurodyn.fetch import allensdk
from neurodyn.fetch.catalogue import Selection, read_catalogue
from neurodyn.fetch.download import Link
from neurodyn.readers.allen.nwb1 import read_session
from neurodyn.readers.allen.session import epochs
from neurodyn.readers.options import ReadOptions
from tests.fetch import allen_api
from tests.fetch.allen_api import Fault, download_path
from tests.readers import allen_files


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """Skip where uv cannot make the SDK's environment."""
    folder = tmp_path_factory.mktemp("sdk") / "scratch"
    folder.mkdir()
    try:
        allensdk.ask({}, folder)
    except WorkError as error:
        pytest.skip(f"uv cannot make the SDK's environment: {error.found}")


KINDS = [*allen_files.BLOCKS, "no eye", "no demixed"]


@pytest.fixture(scope="module")
def both(sdk, tmp_path_factory):
    """Return what neurodyn and what the SDK reads from each session; the SDK starts once."""
    folder = tmp_path_factory.mktemp("sessions")
    more = {"no eye": {"eye": False}, "no demixed": {"demixed": False}}
    paths = [
        allen_files.session(
            folder / f"{k}.nwb", kind if kind in allen_files.BLOCKS else "A", cells=7, seed=k, **more.get(kind, {})
        )
        for k, kind in enumerate(KINDS)
    ]
    theirs = allensdk.read_by_sdk(paths, folder)
    return dict(zip(KINDS, zip(map(read_session, paths), theirs, strict=True), strict=True))


def same(ours, theirs):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype.kind == theirs.dtype.kind and ours.shape == theirs.shape
    assert ours.astype(theirs.dtype).tobytes() == theirs.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_the_same_bit_for_bit(both, kind):
    ours, theirs = both[kind]
    assert list(ours.traces) == list(theirs.traces)
    for name in theirs.traces:
        same(ours.traces[name][:, :], theirs.traces[name][:, :])
    same(ours.time, theirs.time)
    assert list(ours.tables) == list(theirs.tables)
    for name, table in theirs.tables.items():
        assert set(ours.tables[name]) == set(table)
        for column, values in table.items():
            same(ours.tables[name][column], values)
    assert set(ours.behavior) == set(theirs.behavior)
    for name, course in theirs.behavior.items():
        same(ours.behavior[name].values, course.values)
        same(ours.behavior[name].time, course.time)
        assert ours.behavior[name][2:] == course[2:]
    for name in ("cells", "neuropil_r", "max_projection", "motion"):
        same(getattr(ours, name), getattr(theirs, name))
    assert ours.roi_ids.tolist() == theirs.roi_ids.tolist()
    for mine, mask in zip(ours.masks, theirs.masks, strict=True):
        same(mine, mask)
    differ = {"device", "session_start"}  # which the SDK shortens, and rewrites
    assert {k: v for k, v in ours.metadata.items() if k not in differ} == {
        k: v for k, v in theirs.metadata.items() if k not in differ
    }


@pytest.mark.slow
def test_a_session_the_sdk_cannot_read_is_told(sdk, tmp_path):
    (tmp_path / "a.nwb").write_bytes(b"nothing")
    with pytest.raises(DataError, match="The Allen SDK cannot read"):
        allensdk.read_by_sdk([tmp_path / "a.nwb"], tmp_path)


@pytest.mark.slow
def test_the_sdk_lists_fetches_and_converts(sdk, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    ids = (501940850, 501800164)
    server = allen_api.observatory(tmp_path, ids)
    for one in ids:
        file = {"id": one, "attachable_id": one, "download_link": download_path(one)}
        server.files[f"file of {one}"] = json.dumps({"success": True, "msg": [file]}).encode()
    server.files["files"] = json.dumps({"success": True, "msg": []}).encode()
    server.always[download_path(501800164)] = Fault(cut=30_000, stated=False)
    try:
        allensdk.catalogue_by_sdk(tmp_path / "cache", server.url)
        chosen = Selection(containers=(511510688,), session_types=("A", "B")).of(
            read_catalogue(tmp_path / "cache", Link(offline=True))
        )
        found = {one.id: outcome for one, outcome in allensdk.fetch_by_sdk(chosen, tmp_path / "cache", server.url)}
    finally:
        server.close()
    assert found[501940850].read_bytes() == server.files[download_path(501940850)]
    assert isinstance(found[501800164], (DataError, WorkError))  # the SDK takes a cut file for a whole one
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["501940850.nwb", "ophys_experiments.json"]
    saved = allensdk.save_by_sdk(found[501940850], tmp_path / "a.zarr", ReadOptions(), request="r")
    recording, session = Recording.open(saved), read_session(found[501940850])
    same(recording["corrected"].values.T, session.traces["corrected"][:, :])
    assert recording.history[-1]["step"] == "read allensdk"
    blocks = epochs(session.tables, session.time)
    np.testing.assert_array_equal(recording.table("stimulus")["epoch_start"], blocks["start"])


def test_what_only_neurodyns_reader_does_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no use for source.templates"):
        allensdk.save_by_sdk(tmp_path / "a.nwb", tmp_path / "a.zarr", ReadOptions(templates=True))


def test_without_an_answer_the_log_is_kept_and_named(tmp_path, monkeypatch):
    script = tmp_path / "uv"
    script.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 2\n")
    script.chmod(0o755)
    monkeypatch.setattr(allensdk, "find_uv", lambda _: str(script))
    path = allen_files.session(tmp_path / "a.nwb", trials=3)
    with pytest.raises(WorkError, match="uv ended with code 2(.|\n)*--backend allensdk") as caught:
        allensdk.save_by_sdk(path, tmp_path / "out" / "a.zarr", ReadOptions())
    assert "no route to host" in (tmp_path / "out" / "allensdk.log").read_text()
    assert "allensdk.log" in caught.value.found
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["allensdk.log"]
