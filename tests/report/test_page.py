"""The page says what it must, loads nothing, escapes everything, and is the same every time."""

import re
import shutil
from html.parser import HTMLParser

import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode.run import decode
from neurodyn.decode.settings import DecodeConfig
from neurodyn.report.page import report
from tests.report.fake_run import make_run, movie, traces


class Page(HTMLParser):
    """Collects text, tags and attributes, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "hr", "link"})

    def __init__(self, html):
        super().__init__()
        self.stack, self.attributes, self.text = [], [], []
        self.feed(html)
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if not self.stack or self.stack[-1] != "style":
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    decode(folder, config=DecodeConfig(target="contrast", splits=("blocked", "random"), shuffles=20))
    return folder


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    return report([run], tmp_path_factory.mktemp("page") / "report.html").read_text(encoding="utf-8")


def test_says_what_was_done_and_what_came_out(page):
    words = Page(page).words
    for expected in (
        "Contrast in mouse1 was decoded from",  # the result in words
        "R² on hidden frames of held-out windows: cst 0.42 (95 % interval 0.39 to 0.45); linear interpolation 0.35",
        "Training ended after 4 epochs",
        "jRCaMP1b",
        "20 × 24 pixels",
        "ΔF/F of 'fluorescence' was computed",  # history in sentences
        "latents:best",
        "pca:best",
        "blocked split",
        "neighbours of test windows are in training",
        "model.width",
        "models/cst.yaml:6",  # where a value came from
        "2025-01-02T03:04:05+00:00",
        "Fonseca et al. (2023), ICML",
        "Hoerl & Kennard (1970)",
        "5-fold cross-validation with contiguous blocks of trials",
    ):
        assert expected in words, expected
    # signals of the whole recording and of a minute, frames, attention, hidden frames, curves, decoding, guesses
    assert page.count('<img src="data:image/') == 8
    assert "Not in this report" not in words


def test_loads_nothing_from_anywhere(page):
    for tag, name, value in Page(page).attributes:
        assert tag not in {"script", "link", "iframe"}
        if name in {"src", "href"}:
            assert value.startswith(("data:image/", "#"))
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?://", re.sub(r'src="data:[^"]*"', "", page))


def test_every_image_has_words(page):
    alts = [value for tag, name, value in Page(page).attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == 8
    assert all(alts)


def test_same_inputs_same_bytes_where_a_table_of_scores_stands_for_its_run(run, page, tmp_path):
    tables = [run / "scores.csv", run / "reconstruction.csv", run]
    assert report(tables, tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_names_are_escaped_everywhere(tmp_path):
    hostile = "<script>alert('x')</script>"
    folder = make_run(tmp_path / "run", movie(24, (10, 12), session=hostile), name="<b>model</b>")
    decode(folder, config=DecodeConfig(target="contrast", shuffles=2))
    html = report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    assert hostile in Page(html).words


def test_what_is_missing_is_named_with_the_command_that_makes_it(run, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(run / "config.yaml", bare)
    words = Page(report([bare], tmp_path / "report.html").read_text(encoding="utf-8")).words
    for name in ("model.json", "status.json", "provenance.json", "prediction.zarr", "reconstruction.csv",
                 "metrics.csv", "scores.csv"):  # fmt: skip
        assert name in words
    assert "neurodyn infer" in words
    assert "Training is not recorded as finished" in words


@pytest.mark.usefixtures("unsaved")
def test_a_lost_recording_is_named(tmp_path):
    folder = make_run(tmp_path / "run")
    shutil.rmtree(tmp_path / "run-recording.zarr")
    words = Page(report([folder], tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert "it is no longer there" in words


@pytest.mark.usefixtures("unsaved")
def test_runs_recordings_and_scores_on_one_page(run, tmp_path):
    source = traces().save(tmp_path / "mouse2.zarr")
    windows = WindowConfig(duration=3.0, align="events", offset=-1.0)
    decode(source, config=DecodeConfig(target="orientation%180", task="classify", windows=windows, shuffles=30))
    out = report([run, source, tmp_path / "mouse2.decode"], tmp_path / "report.html")
    words = Page(out.read_text(encoding="utf-8")).words
    assert "3 results" in words
    assert "12 ROIs" in words
    assert (
        "Orientation%180 in mouse2 was decoded from dff, mean after minus mean before the event with accuracy" in words
    )
    assert "Chance accuracy: 0.250." in words
    assert "Ledoit & Wolf (2004)" in words


def test_a_run_on_traces_that_know_nothing_of_the_target(tmp_path):
    folder = make_run(tmp_path / "run", traces())
    decode(folder, config=DecodeConfig(target="contrast", shuffles=40))
    decode(folder, config=DecodeConfig(target="contrast", shuffles=40, decoder="knn", task="regress", name="knn"))
    html = report([folder], tmp_path / "report.html").read_text(encoding="utf-8")
    words = Page(html).words
    assert "Open circles were withheld" in words
    assert "Contrast in mouse2 could not be told from chance: from" in words
    assert "Cover & Hart (1967)" in words


@pytest.mark.usefixtures("unsaved")
def test_what_cannot_be_reported(tmp_path):
    with pytest.raises(ConfigError, match="nothing to report"):
        report([], tmp_path / "report.html")
    with pytest.raises(DataError, match="does not exist"):
        report([tmp_path / "gone"], tmp_path / "report.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds nothing to report"):
        report([tmp_path / "empty"], tmp_path / "report.html")
    damaged = make_run(tmp_path / "run", traces(trials=12))
    (damaged / "metrics.csv").write_text("epoch,train_loss\n0,zebra\n", encoding="utf-8")
    with pytest.raises(DataError, match="not a table of metrics"):
        report([damaged], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.usefixtures("unsaved")
def test_marks_in_the_text_lead_to_one_list_without_doubles(run, tmp_path):
    other = make_run(tmp_path / "other", traces(), name="cst-traces")
    decode(other, config=DecodeConfig(target="contrast", shuffles=2))
    html = report([run, other], tmp_path / "report.html").read_text(encoding="utf-8")
    listed = re.findall(r'<li id="ref-(\d+)">([^<]*)</li>', html)
    assert [int(number) for number, _ in listed] == list(range(1, len(listed) + 1))
    assert len({reference for _, reference in listed}) == len(listed)
    marks = [int(number) for number in re.findall(r'<a href="#ref-(\d+)">', html)]
    assert set(marks) == set(range(1, len(listed) + 1))
    assert list(dict.fromkeys(marks)) == sorted(set(marks))  # numbered as the text names them
    number = next(number for number, reference in listed if "Fonseca" in reference)
    assert html.count("trainable parameters) was fitted to windows of 1 s of &#39;dff&#39;") == 2
    assert html.count(f'blocks of time&nbsp;[<a href="#ref-{number}">{number}</a>].') == 2
    assert html.index("<h2>References</h2>") > html.rindex("</article>")


def test_configuration_and_provenance_are_folded_away(page):
    for title in ("Configuration", "Provenance"):
        assert f"<details>\n<summary>{title}</summary>" in page
    assert "<details open" not in page


def test_every_result_has_a_picture_first(page):
    for section in re.findall(r"<section>\n<h2>(?:Signals|Model|Decoding).*?</section>", page, re.DOTALL):
        assert re.match(r"<section>\n<h2>[^<]*</h2>\n<figure>", section)


def test_methods_are_whole_sentences_without_settings_as_they_lie_in_files(page):
    methods = re.search(r"<h2>Methods</h2>\n<p>(.*?)</p>", page, re.DOTALL)
    assert methods is not None
    assert "{" not in methods[1] and "None" not in methods[1] and "&#39;:" not in methods[1]
    words = re.sub(r"<[^>]*>", "", methods[1])
    assert "It was trained for at most 4 epochs, from random seed 0." in words
    assert "divided into training, validation and test (40 %, 10 % and 50 %) by contiguous blocks of time" in words
