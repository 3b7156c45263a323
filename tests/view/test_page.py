"""The page in a real browser: clicks, keys, a curation that outlives the page, and the page that is one file."""

import csv
import re
import shutil
import time

import pytest

from neurodyn.data.recording import Recording
from neurodyn.respond.output import write_responses
from neurodyn.respond.settings import RespondConfig
from neurodyn.view.curation import Curation
from neurodyn.view.export import export
from neurodyn.view.scene import open_scene, with_tuning
from neurodyn.view.window import Window
from tests.view.recordings import CORNERS, movie, saved

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def scene(source):
    return open_scene(source)


@pytest.fixture
def window(scene, tmp_path):
    made = Window(scene, tmp_path / "cells.csv").start()
    yield made
    made.close()


@pytest.fixture
def page(browser):
    opened = browser.new_page(viewport={"width": 1300, "height": 800})
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda message: message.type == "error" and opened.faults.append(message.text))
    yield opened
    assert not opened.faults
    opened.close()


def wait(page, words):
    """Wait until an expression is true; playwright's own waiting compiles it in the page, which its policy forbids."""
    deadline = time.monotonic() + 30
    while not page.evaluate(words):
        assert time.monotonic() < deadline, words
        page.wait_for_timeout(20)


def refused(page):
    """Forgive the browser's own note of one request that the server refused."""
    (fault,) = page.faults
    assert "400" in fault
    page.faults.clear()


def show(page, address):
    page.goto(address)
    page.wait_for_selector("tr.chosen")
    wait(page, "app.traces.found && !app.traces.latest.busy && !app.movie.latest.busy")


def log(path):
    with path.open(newline="") as file:
        return [(row["action"], row["cell"], row["into"]) for row in csv.DictReader(file)]


def written(path, count):
    """Wait until the log has that many rows, and return them."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and (not path.exists() or len(log(path)) < count):
        time.sleep(0.02)
    return log(path)


def chosen(page):
    return page.locator("tr.chosen td:first-child").all_inner_texts()


def on_screen(page, cell):
    """Return where the middle of a cell is on the plane, in pixels of the canvas."""
    y, x = CORNERS[cell] + 2.5
    return page.evaluate("([x, y]) => { const p = app.plane.place(); return {x: p.left + p.scale * x, y: p.top + p.scale * y}; }", [x, y])  # fmt: skip


def test_a_click_on_a_cell_shows_its_traces(page, window):
    show(page, window.url)
    assert page.inner_text("#session") == "small" and "6 cells" in page.inner_text("#facts")
    page.click("#plane", position=on_screen(page, 2))
    assert chosen(page) == ["a2"] and page.inner_text("#trace-title") == "Cell a2"
    page.click("#plane", position=on_screen(page, 0), modifiers=["Shift"])
    assert chosen(page) == ["a0", "a2"]
    wait(page, "app.traces.found.traces.some((one) => one.row === 0)")
    page.click("#plane", position=on_screen(page, 3))
    wait(page, "app.averages.found.groups.length === 3 && !app.averages.latest.busy")
    dark = "(id) => { const c = document.getElementById(id), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; for (let k = 3; k < d.length; k += 4) n += d[k] > 0; return n; }"
    assert page.evaluate(dark, "traces") > 5000 and page.evaluate(dark, "averages") > 3000


def test_the_clock_moves_the_movie_and_plays(page, window):
    show(page, window.url)
    page.evaluate("app.setClock(20)")
    wait(page, "app.movie.frame === 200")
    assert page.inner_text("#now") == "20.00 s · frame 200"
    page.select_option("#speed", "0.5")
    page.keyboard.press("Space")
    wait(page, "app.movie.frame > 203")
    page.keyboard.press("Space")
    assert not page.evaluate("app.movie.playing")
    page.select_option("#picture", "correlation/raw")
    wait(page, "!app.movie.latest.busy && app.movie.levels['correlation/raw']")
    before = page.evaluate("app.plane.picture.getContext('2d').getImageData(6, 6, 1, 1).data[0]")
    page.locator("#high").fill("300")
    wait(page, f"app.plane.picture.getContext('2d').getImageData(6, 6, 1, 1).data[0] >= {before}")


def test_wheel_and_drag_move_through_time(page, window):
    show(page, window.url)
    box = page.locator("#traces").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 60)
    page.mouse.wheel(0, -700)
    wait(page, "app.traces.to - app.traces.from < 12")
    start = page.evaluate("app.traces.from")
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 60, steps=4)
    page.mouse.up()
    assert page.evaluate("app.traces.from") > start
    page.keyboard.press("0")
    assert page.evaluate("[app.traces.from, app.traces.to]") == pytest.approx([0, 39.9])
    page.click("#traces", position={"x": 400, "y": 60})
    assert 5 < page.evaluate("app.clock") < 30


def test_keys_curate_and_what_was_done_survives(page, window):
    path = window.curation.path
    show(page, window.url)
    page.keyboard.press("k")
    assert written(path, 1) == [("keep", "a0", "")]
    wait(page, "app.chosen[0] === 1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("d")
    assert written(path, 2)[-1] == ("drop", "a2", "")
    page.click("tr[data-row='4']")
    page.keyboard.press("m")
    wait(page, "document.getElementById('saved').innerText.startsWith('Cell a4 is marked')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    assert written(path, 3)[-1] == ("merge", "a5", "a4")
    show(page, window.url)
    assert page.inner_text("#progress") == "1 kept · 1 dropped · 3 to go"
    assert page.inner_text("tr[data-row='2'] td:last-child") == "✕ dropped"
    assert page.inner_text("tr[data-row='5'] td:last-child") == "in a4"
    page.keyboard.press("u")
    assert written(path, 4)[-1] == ("undo", "a5", "")
    wait(page, "app.chosen[0] === 5")
    page.keyboard.press("u")
    assert written(path, 5)[-1] == ("undo", "a2", "")
    wait(page, "document.getElementById('progress').innerText.startsWith('1 kept · 0 dropped')")
    for _ in range(2):
        page.keyboard.press("u")
    wait(page, "document.getElementById('saved').innerText.includes('nothing to undo')")
    assert window.curation.verdicts().verdict == {}
    refused(page)


def test_keys_typed_fast_are_each_on_their_own_cell(page, window):
    show(page, window.url)
    page.evaluate("for (const key of 'kdk') document.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))")
    assert written(window.curation.path, 3) == [("keep", "a0", ""), ("drop", "a1", ""), ("keep", "a2", "")]


def test_the_list_is_sorted_and_filtered(page, window):
    show(page, window.url)
    first = page.locator("#rows tr td:first-child")
    assert first.all_inner_texts()[0] == "a0"
    page.click("[data-by='skew']")
    assert first.all_inner_texts() == ["a0", "a1", "a2", "a3", "a4", "a5"]
    page.click("[data-by='skew']")
    assert first.all_inner_texts() == ["a5", "a4", "a3", "a2", "a1", "a0"]
    page.click("tr[data-row='4']")
    page.keyboard.press("ArrowDown")
    assert chosen(page) == ["a3"]
    page.keyboard.press("d")
    wait(page, "app.verdict(3) === 'drop'")
    page.select_option("#filter", "drop")
    assert first.all_inner_texts() == ["a3"]
    page.select_option("#filter", "undecided")
    assert first.all_inner_texts() == ["a5", "a4", "a2", "a1", "a0"]


def test_what_cannot_be_saved_is_told_and_not_shown_as_done(page, window):
    show(page, window.url)
    window.curation.path.write_text("cell,monday\na,0\n")
    page.keyboard.press("k")
    page.wait_for_selector("#saved.bad")
    assert "is not the log of a curation" in page.inner_text("#saved")
    assert page.inner_text("#progress").startswith("0 kept")
    refused(page)


def test_a_movie_alone_is_shown_without_an_empty_list(page, tmp_path):
    path = Recording.from_arrays({"fluorescence": movie()}, rate_hz=10).save(tmp_path / "movie.zarr")
    window = Window(open_scene(path), tmp_path / "cells.csv").start()
    page.goto(window.url)
    wait(page, "window.app?.movie?.frame === 0")
    assert page.locator("#list-panel").is_hidden() and "neurodyn extract" in page.inner_text("#saved")
    window.close()


def test_one_file_shows_the_same_offline(page, scene, tmp_path):
    curation = Curation(tmp_path / "cells.csv", [f"a{k}" for k in range(6)], "small")
    curation.act("drop", "a1", who="me")
    made = export(scene, curation, tmp_path / "cells.html")
    text = made.read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=.(?!data:)", text) and "http" not in text
    page.context.set_offline(True)
    show(page, made.as_uri())
    assert "mean image" in page.inner_text("#picture") and page.locator("#player").is_hidden()
    page.click("#plane", position=on_screen(page, 3))
    assert chosen(page) == ["a3"]
    mine = scene.traces.trace("fluorescence", 3)
    wait(page, "app.traces.found.traces[0].row === 3")
    read = page.evaluate("Array.from(app.traces.found.traces[0].low)")
    assert read == pytest.approx(mine.tolist(), abs=2e-4 * float(mine.max() - mine.min()))
    page.keyboard.press("k")
    page.keyboard.press("d")
    page.keyboard.press("u")
    wait(page, "document.getElementById('progress').innerText === '1 kept · 1 dropped · 4 to go'")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "given.csv")
    assert log(tmp_path / "given.csv") == [
        ("drop", "a1", ""),
        ("keep", "a3", ""),
        ("drop", "a4", ""),
        ("undo", "a4", ""),
    ]
    given = Curation(tmp_path / "given.csv", [f"a{k}" for k in range(6)], "small")
    assert given.verdicts().verdict == {"a1": "drop", "a3": "keep"}


@pytest.mark.parametrize("offline", [False, True])
def test_tuning_is_drawn_listed_and_colours_the_cells(page, source, tmp_path, offline):
    asked = RespondConfig(target="direction", shuffles=200, bootstraps=100)
    scene = with_tuning(open_scene(source), write_responses(source, asked, tmp_path / "small.respond"))
    window = Window(scene, tmp_path / "cells.csv").start()
    show(page, export(scene, window.curation, tmp_path / "cells.html").as_uri() if offline else window.url)
    page.click("[data-by='q']")
    assert page.locator("#rows tr:first-child td:nth-child(5)").inner_text() == "0"
    page.click("tr[data-row='5']")
    wait(page, "app.chosen[0] === 5 && app.averages.tuned")
    assert page.evaluate("app.tuning.words(5)").startswith("tuned, q = 0.0")
    assert page.evaluate("Array.from(app.tuning.curve(5).mean)") == pytest.approx(scene.tuning.curves["mean"][5])
    page.click("#preference")
    assert page.evaluate("app.byPreference && app.tuning.look(5).color") == page.evaluate("bandColor(0, 3)")
    page.select_option("#average-column", "direction")
    wait(page, "app.averages.found?.groups.length === 3")
    window.close()
