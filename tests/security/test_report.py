"""A report shows what files say as text, never as HTML: names, values and messages cannot put anything into the page."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording

SESSION = '<script>alert("session")</script> $\\frac{ & "quoted" {{ 7 * 7 }} {% raw %}'
COLUMN = "<img src=x onerror=alert('column')>"
VALUES = ["<svg onload=alert(1)>", "</style><script>alert(2)</script>", "'\" onmouseover=alert(3) x='"]
FILE = "<iframe srcdoc=x onload=alert(4)> & $x_{.zarr"
OURS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "nav",
    "a",
    "article",
    "section",
    "p",
    "h1",
    "h2",
    "h3",
}
OURS |= {
    "ul",
    "ol",
    "li",
    "figure",
    "img",
    "figcaption",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "footer",
    "div",
    "span",
}
OURS |= {"details", "summary", "strong", "em", "code", "br", "small"}


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def harmless(path: Path) -> Page:
    """Check that a page has none but our own elements, and nothing that runs or loads."""
    page = Page(path.read_text(encoding="utf-8"))
    assert page.tags <= OURS, page.tags - OURS
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("srcdoc", "action")]
    links = [value or "" for name, value in page.attributes if name in ("href", "src")]
    assert all(link.startswith(("#", "data:image/png;base64,", "data:image/svg+xml;base64,")) for link in links), links
    return page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    rng, start = np.random.default_rng(0), np.arange(2.0, 115.0, 5.0)
    return Recording.from_arrays(
        {"dff": rng.normal(size=(1200, 6)).astype(np.float32)},
        rate_hz=10,
        session=SESSION,
        indicator="<b onclick=alert(5)>GCaMP</b>",
        units={"dff": "<i>unit</i>"},
        stimulus={"start": start, "stop": start + 2, COLUMN: np.resize(VALUES, start.size)},
        rois=xr.Dataset({"cell": ("roi", [f"<object data=x>{k}" for k in range(6)])}),
    ).save(tmp_path_factory.mktemp("data") / FILE)


def test_a_recording(hostile, neurodyn, tmp_path):
    outcome = neurodyn("report", hostile, "-o", tmp_path / "report.html")
    assert outcome.code == 0, outcome.err
    page = harmless(tmp_path / "report.html")
    assert SESSION in " ".join(page.text)


def test_a_run_and_its_scores(hostile, neurodyn, tmp_path):
    run = tmp_path / "<script src=x> run"
    train = ["train", "pca", hostile, "-o", run, "--gpu", "none", "--set", "windows.duration=2"]
    decode = ["decode", run, "--target", COLUMN, "--shuffles", "2", "--decoder", "logistic"]
    for command in (train, ["infer", run, "--gpu", "none"], decode, ["report", run]):
        outcome = neurodyn(*command)
        assert outcome.code == 0, outcome.err
    page = harmless(run / "report.html")
    text = " ".join(page.text)
    assert SESSION in text and COLUMN in text


@pytest.mark.parametrize(
    "name", ["scores.csv", "reconstruction.csv", "status.json", "model.json", "provenance.json", "config.yaml"]
)
def test_files_of_a_run_that_someone_changed(name, run, neurodyn, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    neurodyn("decode", copy, "--target", "contrast", "--shuffles", "2")
    path = copy / name
    text = path.read_text(encoding="utf-8")
    evil = "<script>alert(6)</script>"
    if name.endswith(".csv"):
        path.write_text(text.replace("pca", evil).replace("contrast", evil), encoding="utf-8")
    elif name.endswith(".json"):
        told = json.loads(text)
        path.write_text(json.dumps(_planted(told, evil)), encoding="utf-8")
    else:
        path.write_text(text.replace("name: pca", f"name: '{evil}'"), encoding="utf-8")
    outcome = neurodyn("report", copy)
    assert outcome.code in (0, 3), outcome.err
    assert "Traceback" not in outcome.err and "fault in neurodyn" not in outcome.err
    if outcome.code == 0:
        harmless(copy / "report.html")


def _planted(value, evil):
    if isinstance(value, dict):
        return {key: _planted(one, evil) for key, one in value.items()}
    if isinstance(value, list):
        return [_planted(one, evil) for one in value]
    return evil if isinstance(value, str) else value
