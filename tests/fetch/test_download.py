"""Downloads: whole, checked, or not there; resumed wherever they were cut."""

import errno
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from neurodyn.core.errors import DataError, WorkError
from neurodyn.fetch import download
from neurodyn.fetch.download import Link, NoSpaceError, stated_digest
from tests.fetch.allen_api import Fault, Server

BODY = np.random.default_rng(0).bytes(600_000)
OTHER = np.random.default_rng(1).bytes(600_000)
LINK = Link(timeout=5, retries=3, pause=0.001)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    server.files["/file"] = BODY
    yield server
    server.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def part_of(folder: Path, server: Server, count: int, body: bytes = BODY) -> Path:
    """Leave what an interrupted download leaves."""
    server.always["/file"] = Fault(cut=count)
    server.files["/file"] = body
    with pytest.raises(DataError, match="wrong length"):
        Link(retries=0).download(f"{server.url}/file", folder / "a")
    server.always.clear()
    server.log.clear()
    assert (folder / "a.part").read_bytes() == body[:count] and not (folder / "a").exists()
    return folder / "a"


def test_a_file_comes_whole_and_tells_how_far_it_is(server, tmp_path):
    told = []
    LINK.download(f"{server.url}/file", tmp_path / "new" / "a", report=lambda *both: told.append(both))
    assert (tmp_path / "new" / "a").read_bytes() == BODY
    assert names(tmp_path / "new") == ["a"]
    assert told[-1] == (len(BODY), len(BODY)) and told == sorted(told)


@pytest.mark.parametrize("cut", np.random.default_rng(7).integers(1, len(BODY), 30).tolist())
def test_a_cut_download_goes_on_at_the_byte_it_stopped(server, tmp_path, cut):
    target = part_of(tmp_path, server, cut)
    LINK.download(f"{server.url}/file", target)
    assert target.read_bytes() == BODY
    assert server.asked("/file") == [f"bytes={cut}-"]
    assert names(tmp_path) == ["a"]


def test_cuts_are_mended_within_one_call(server, tmp_path):
    server.faults["/file"] = [Fault(cut=1000), Fault(cut=0), Fault(cut=200_000)]
    LINK.download(f"{server.url}/file", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.asked("/file") == [None, "bytes=1000-", "bytes=1000-", "bytes=201000-"]


def test_a_whole_part_is_not_asked_for_again(server, tmp_path):
    target = part_of(tmp_path, server, len(BODY) - 1)
    with (tmp_path / "a.part").open("ab") as file:
        file.write(BODY[-1:])
    assert LINK.download(f"{server.url}/file", target).read_bytes() == BODY
    assert server.log == []


@pytest.mark.parametrize("count", [300_000, 599_999])
def test_a_file_that_changed_on_the_server_starts_anew(server, tmp_path, count):
    target = part_of(tmp_path, server, count)
    for body in (OTHER, OTHER[:1000]):
        server.files["/file"] = body
        assert LINK.download(f"{server.url}/file", target).read_bytes() == body


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    target = part_of(tmp_path, server, 1234)
    server.always["/file"] = Fault(ranges=False)
    assert LINK.download(f"{server.url}/file", target).read_bytes() == BODY


def test_what_one_server_gave_is_not_continued_by_another(server, tmp_path):
    target = part_of(tmp_path, server, 1234)
    server.files["/other"] = OTHER
    with pytest.raises(WorkError, match="404"):
        LINK.download(f"{server.url}/absent", target)
    assert (tmp_path / "a.part").read_bytes() == BODY[:1234]  # a server that does not answer costs nothing
    assert LINK.download(f"{server.url}/other", target).read_bytes() == OTHER
    assert server.asked("/other") == [None]


@pytest.mark.parametrize("note", [None, "{", '{"url": 1}', "[]"])
def test_a_part_whose_note_is_lost_starts_anew(server, tmp_path, note):
    target = part_of(tmp_path, server, 1234)
    place = tmp_path / "a.part.json"
    place.unlink() if note is None else place.write_text(note)
    assert LINK.download(f"{server.url}/file", target).read_bytes() == BODY
    assert server.asked("/file") == [None]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_passing_errors_are_tried_again_a_bounded_number_of_times(server, tmp_path, status):
    server.faults["/file"] = [Fault(status=status)] * 3
    assert LINK.download(f"{server.url}/file", tmp_path / "a").read_bytes() == BODY
    server.log.clear()
    server.always["/file"] = Fault(status=status)
    with pytest.raises(WorkError, match=f"HTTP {status}") as caught:
        LINK.download(f"{server.url}/file", tmp_path / "b")
    assert len(server.log) == 4 and caught.value.exit_code == 1
    assert names(tmp_path) == ["a"]


def test_a_refusal_is_not_tried_again(server, tmp_path):
    with pytest.raises(WorkError, match="HTTP 404"):
        LINK.download(f"{server.url}/absent", tmp_path / "a")
    assert len(server.log) == 1 and names(tmp_path) == []


def test_a_slow_answer_is_given_up_and_tried_again(server, tmp_path):
    server.faults["/file"] = [Fault(delay=0.6)]
    quick = Link(timeout=0.2, retries=1, pause=0.001)
    assert quick.download(f"{server.url}/file", tmp_path / "a").read_bytes() == BODY
    server.always["/file"] = Fault(delay=0.6)
    with pytest.raises(WorkError, match="timed out"):
        quick.download(f"{server.url}/file", tmp_path / "b")


def test_pauses_grow_and_heed_the_server(server, tmp_path, monkeypatch):
    pauses = []
    link = Link(retries=3, pause=0.5)
    monkeypatch.setattr(link.stop, "wait", pauses.append)
    server.always["/file"] = Fault(status=503)
    with pytest.raises(WorkError):
        link.download(f"{server.url}/file", tmp_path / "a")
    assert pauses == [0.5, 1.0, 2.0]


def test_nobody_there(tmp_path):
    with pytest.raises(WorkError, match="cannot be had"):
        Link(retries=0).download("http://127.0.0.1:9/file", tmp_path / "a")
    with pytest.raises(DataError, match="no address"):
        LINK.download("file:///etc/passwd", tmp_path / "a")


def test_a_promise_of_more_than_there_is(server, tmp_path):
    server.always["/file"] = Fault(extra=10, ranges=False)
    with pytest.raises(DataError, match="wrong length(.|\n)*600,000 of 600,010") as caught:
        LINK.download(f"{server.url}/file", tmp_path / "a")
    assert caught.value.exit_code == 3 and "a" not in names(tmp_path)


def test_the_right_checksum_passes_and_a_wrong_one_does_not(server, tmp_path):
    server.always["/file"] = Fault(digest="right")
    LINK.download(f"{server.url}/file", tmp_path / "a")
    server.always["/file"] = Fault(digest="wrong")
    with pytest.raises(DataError, match="wrong checksum") as caught:
        LINK.download(f"{server.url}/file", tmp_path / "b")
    assert caught.value.exit_code == 3 and names(tmp_path) == ["a"]


def test_the_checksum_holds_across_a_resumption(server, tmp_path):
    server.faults["/file"] = [Fault(cut=1000, digest="wrong")]
    with pytest.raises(DataError, match="wrong checksum"):
        LINK.download(f"{server.url}/file", tmp_path / "a")
    assert names(tmp_path) == []


def test_a_check_decides_where_no_length_is_stated(server, tmp_path):
    def check(path: Path) -> None:
        if path.stat().st_size != len(BODY):
            raise DataError("short", "it is", "fetch it")

    server.always["/file"] = Fault(stated=False)
    assert LINK.download(f"{server.url}/file", tmp_path / "a", check).read_bytes() == BODY
    server.always["/file"] = Fault(stated=False, cut=1000)
    with pytest.raises(DataError, match="short"):
        LINK.download(f"{server.url}/file", tmp_path / "b", check)
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up(server, tmp_path):
    part_of(tmp_path, server, 0)
    (tmp_path / "a.part").unlink()
    (tmp_path / "a.part").symlink_to("/dev/full")
    fetch = download._Fetch(LINK, f"{server.url}/file", tmp_path / "a.part", None)
    note = download._Note(f"{server.url}/file", length=len(BODY))
    with LINK._open(f"{server.url}/file", {}) as reply, pytest.raises(NoSpaceError, match="disk is full") as caught:
        fetch._copy(reply, note, 0)
    assert caught.value.exit_code == 3


def test_a_disk_that_would_be_too_small_is_not_begun(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage(10, 9, 599_999))
    with pytest.raises(NoSpaceError, match="600,000 bytes are missing, 599,999 are free"):
        LINK.download(f"{server.url}/file", tmp_path / "a")
    assert len(server.log) == 1 and "a" not in names(tmp_path)


def test_a_folder_that_cannot_be_written(server, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(download._Note, "save", refuse)
    with pytest.raises((WorkError, OSError), match="Permission denied"):
        LINK.download(f"{server.url}/file", tmp_path / "a")
    assert "a" not in names(tmp_path)


def test_json_is_tried_again_and_refused_when_it_is_none(server):
    server.files["/j"] = json.dumps({"a": [1]}).encode()
    server.faults["/j"] = [Fault(status=500), Fault(cut=3)]
    assert LINK.json(f"{server.url}/j") == {"a": [1]}
    server.files["/j"] = b"<html>"
    with pytest.raises(DataError, match="not answer in JSON"):
        LINK.json(f"{server.url}/j")


def test_offline_makes_no_request(server, tmp_path):
    for ask in (
        lambda link: link.json(f"{server.url}/file"),
        lambda link: link.download(f"{server.url}/file", tmp_path / "a"),
    ):
        with pytest.raises(DataError, match="--offline"):
            ask(Link(offline=True))
    assert server.log == []


def test_checksums_that_servers_state():
    md5, sha = "kAFQmDzST7DWlj99KOF/cg==", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
    hexes = "900150983cd24fb0d6963f7d28e17f72", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert stated_digest({"Content-MD5": md5}) == ("md5", hexes[0])
    assert stated_digest({"x-amz-checksum-sha256": sha}) == ("sha256", hexes[1])
    assert stated_digest({"Repr-Digest": f"md5=:{md5}:, sha-256=:{sha}:"}) == ("sha256", hexes[1])
    assert stated_digest({"Server": "AmazonS3", "ETag": f'"{hexes[0]}"'}) == ("md5", hexes[0])
    assert stated_digest({"Server": "AmazonS3", "ETag": f'"{hexes[0]}-12"'}) is None  # of several parts
    assert stated_digest({"Server": "nginx", "ETag": f'"{hexes[0]}"'}) is None
    assert (
        stated_digest({"Server": "AmazonS3", "ETag": f'"{hexes[0]}"', "x-amz-server-side-encryption": "aws:kms"})
        is None
    )
    assert stated_digest({"Content-MD5": "no base64", "Digest": "sha-256=short"}) is None
