"""What a server says decides no place on this machine: names stay in their folder, and only http is followed."""

import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import neurodyn
from neurodyn.core.errors import DataError, NeurodynError
from neurodyn.fetch.dandi import Archive
from neurodyn.fetch.download import Link


@pytest.fixture
def server(monkeypatch):
    """A server whose answers and headers a test sets."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answers.get(self.path.partition("?")[0], (404, {}, b""))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    running.answers = answers
    running.url = f"http://127.0.0.1:{running.server_port}"
    yield running
    running.shutdown()
    running.server_close()


LINK = Link(timeout=5, retries=0)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil", "C:\\evil", ""])
def test_names_of_assets_that_lead_out_of_the_folder(name, server, tmp_path):
    import json

    row = {"asset_id": "a", "path": name, "size": 1, "zarr": None}
    page = json.dumps({"count": 1, "results": [row]}).encode()
    server.answers["/dandisets/000001/versions/draft/assets/"] = (200, {}, page)
    with pytest.raises(NeurodynError) as caught:
        Archive(LINK, tmp_path / "answers", server.url).assets("000001", "draft", "*")
    assert isinstance(caught.value, DataError), caught.value
    assert not (tmp_path.parent / "evil").exists()


def test_a_server_does_not_choose_the_name_of_what_it_sends(server, tmp_path):
    server.answers["/file"] = (200, {"Content-Disposition": "attachment; filename=../evil"}, b"data")
    got = LINK.download(f"{server.url}/file", tmp_path / "deep" / "mine")
    assert got == tmp_path / "deep" / "mine" and got.read_bytes() == b"data"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "mine"]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "gopher://127.0.0.1/"])
def test_only_http_is_followed(place, server, tmp_path):
    server.answers["/away"] = (302, {"Location": place}, b"")
    for url in (f"{server.url}/away", place):
        with pytest.raises(NeurodynError):
            LINK.download(url, tmp_path / "mine")
        with pytest.raises(NeurodynError):
            LINK.json(url)
    assert not (tmp_path / "mine").exists()


def test_a_partial_file_that_is_a_link_is_not_written_through(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "mine.part").symlink_to(victim)
    server.answers["/file"] = (200, {}, b"data")
    got = LINK.download(f"{server.url}/file", tmp_path / "mine")
    assert victim.read_text() == "precious" and got.read_bytes() == b"data" and not got.is_symlink()


def test_nothing_unpacks_an_archive_by_the_names_in_it():
    """Zip and tar slips need somebody who unpacks; .npz files are read member by member, into memory."""
    for path in Path(neurodyn.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"extractall|unpack_archive|\.extract\(|tarfile|shell=True|os\.system", text), path


@pytest.mark.parametrize("name", ["../evil.npy", "/tmp/evil.npy", "a/../../evil.npy"])
def test_members_of_npz_files_are_names_and_not_places(name, neurodyn, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open(name, "w") as member:
        np.save(member, np.ones((40, 4)))
    outcome = neurodyn("convert", tmp_path / "a.npz", tmp_path / "b.zarr", "--fs", 10)
    assert outcome.code == 0, outcome.err
    assert not (tmp_path.parent / "evil.npy").exists() and not Path("/tmp/evil.npy").exists()
