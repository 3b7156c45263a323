"""Who is answered, and what: the token, the host, the page's own origin; numbers as they are in the recording."""

import base64
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from neurodyn.view.curation import Curation
from neurodyn.view.scene import scene_of
from neurodyn.view.server import ASSETS, application
from tests.view.recordings import movie, session, traces

TOKEN = "t0ken"
HOST = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def scene():
    return scene_of(session(), "small.zarr")


@pytest.fixture
def client(scene, tmp_path):
    curation = Curation(tmp_path / "cells.csv", scene.cells, "small")
    return TestClient(application(scene, curation, TOKEN), base_url=HOST, follow_redirects=False)


def floats(text, kind="<f4"):
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.mark.parametrize(
    "path", ["/", "/about", "/wrong/", "/wrong/about", "/wrong/cells", "/favicon.ico", "/t0ken2/about"]
)
def test_without_the_token_nothing_is_answered(client, path):
    assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7:8000", "", "evil.example:127.0.0.1"]
)
def test_other_hosts_are_refused(client, host):
    assert client.get(f"/{TOKEN}/about", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1:8000", "http://127.0.0.1:9999", "null"])
def test_other_pages_are_refused(client, origin):
    body = {"action": "drop", "cell": "a1"}
    assert client.post(f"/{TOKEN}/cells", json=body, headers={"Origin": origin}).status_code == 403
    assert client.get(f"/{TOKEN}/cells").json()["verdict"] == {}
    assert client.post(f"/{TOKEN}/cells", json=body, headers={"Origin": HOST}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["../server.py", "..%2fserver.py", "%2e%2e/server.py", "..%5cserver.py", "/etc/passwd", "page/index.html", "server.py", "index.html", "style.css/", "style.css%00"],
)  # fmt: skip
def test_no_address_is_a_file(client, path):
    answer = client.get(f"{HOST}/{TOKEN}/{path}")
    assert answer.status_code in (403, 404) and "def " not in answer.text


def test_the_page_and_its_files_are_there_with_their_guards(client):
    page = client.get(f"/{TOKEN}/")
    assert page.status_code == 200 and "frame-ancestors 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    for name in ASSETS:
        assert client.get(f"/{TOKEN}/{name}").status_code == 200
        assert name in page.text
    assert "http://" not in page.text and "https://" not in page.text


def test_pictures_are_greys_between_their_levels(client):
    first = client.get(f"/{TOKEN}/picture", params={"name": "frame/raw", "at": 12.3})
    low, high, *_ = json.loads(first.headers["x-levels"])
    assert first.headers["x-frame"] == "123" and first.headers["x-shape"] == "32,48"
    wanted = np.clip((movie()[123] - low) / (high - low) * 255, 0, 255)
    got = np.frombuffer(first.content, np.uint8).reshape(32, 48)
    assert np.abs(got - wanted).max() <= 1
    told = client.get(f"/{TOKEN}/picture", params={"name": "frame/raw", "at": 12.3, "low": 0, "high": 1})
    assert told.headers["x-levels"] == "" and set(told.content) == {255}
    assert client.get(f"/{TOKEN}/picture", params={"name": "qc/../rois"}).status_code == 400


def test_traces_are_those_of_the_recording(client):
    query = [
        ("cell", "a5"),
        ("cell", "a0"),
        ("variable", "fluorescence"),
        ("start", "5"),
        ("stop", "10"),
        ("bins", "999"),
    ]
    found = client.get(f"/{TOKEN}/traces", params=query).json()
    time = floats(found["time"], "<f8")
    assert [each["row"] for each in found["traces"]] == [5, 0]
    np.testing.assert_array_equal(floats(found["traces"][0]["low"]), traces()[np.rint(time * 10).astype(int), 5])
    for wrong in ([("cell", "z")], [("cell", "a0"), ("variable", "z")], [("start", "x")]):
        assert client.get(f"/{TOKEN}/traces", params=wrong).status_code == 400


def test_averages_and_quality_are_answered(client):
    query = {"cell": "a5", "variable": "fluorescence", "column": "direction"}
    found = client.get(f"/{TOKEN}/average", params=query).json()
    driven, other, _ = (floats(group["mean"]) for group in found["groups"])
    time = floats(found["time"], "<f8")
    inside = (time > 0.05) & (time < 0.95)
    assert driven[inside].mean() - other[inside].mean() == pytest.approx(25, abs=1)
    assert client.get(f"/{TOKEN}/average", params=query | {"column": "z"}).status_code == 400
    assert floats(client.get(f"/{TOKEN}/quality").json()["skew"]).tolist() == [6, 5, 4, 3, 2, 1]


def test_actions_are_written_or_refused_in_words(client, tmp_path):
    assert client.post(f"/{TOKEN}/cells", json={"action": "keep", "cell": "a1"}).json()["verdict"] == {"a1": "keep"}
    assert client.post(f"/{TOKEN}/cells", json={"action": "undo"}).json()["verdict"] == {}
    assert len((tmp_path / "cells.csv").read_text().splitlines()) == 3
    for body in (b"{", b"[]", b'{"action": "undo"}', b'{"action": "keep", "cell": "z"}'):
        answer = client.post(f"/{TOKEN}/cells", content=body)
        assert answer.status_code == 400 and answer.json()["what"]
