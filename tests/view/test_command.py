"""`neurodyn view` and `nd.view`: what is said, written and refused before anything is served."""

import json
import signal
import subprocess
import sys
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest

import neurodyn as nd
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.view.scene import scene_of
from neurodyn.view.window import Window
from tests.cli.conftest import neurodyn as neurodyn
from tests.view.recordings import saved, session


def answer(url, path=""):
    with urlopen(url + path, timeout=10) as told:
        return told.status


def test_it_serves_until_it_is_stopped(tmp_path):
    command = [sys.executable, "-m", "neurodyn", "view", str(saved(tmp_path)), "--no-browser", "--json"]
    # where the tests run in the background of a shell, processes would not hear Ctrl-C
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **hears) as running:
        told = json.loads(running.stdout.readline())
        assert answer(told["path"], "about") == 200
        assert told["cells"] == str(tmp_path / "cells.csv")
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
        said = running.stderr.read()
    assert told["path"] in said and "Stop with Ctrl-C" in said and not (tmp_path / "cells.csv").exists()


def test_a_dry_run_says_what_would_be_shown(tmp_path, neurodyn):
    done = neurodyn("view", saved(tmp_path), "--dry-run")
    assert done.code == 0 and "fluorescence, neuropil, dff" in done.out and "frame/raw" in done.out


def test_what_cannot_be_shown_is_refused(tmp_path, neurodyn):
    source = saved(tmp_path, with_movie=False)
    assert neurodyn("view", tmp_path / "none.zarr").code == 3
    assert neurodyn("view", source, "--movie", source, "--no-browser").code == 2
    (tmp_path / "cells.csv").write_text("cell,one,two\n")
    done = neurodyn("view", source, "--no-browser")
    assert done.code == 3 and "--cells FILE" in done.err
    assert neurodyn("view", source, "--export", "page.txt").code == 2
    assert neurodyn("view", source, "--export", source / "page.html").code == 2


def test_too_many_cells_for_one_file_are_refused_in_words(tmp_path, neurodyn):
    path = Recording.from_arrays({"dff": np.zeros((600, 501))}, rate_hz=10).save(tmp_path / "many.zarr")
    done = neurodyn("view", path, "--export", tmp_path / "many.html")
    assert done.code == 3 and "501 cells are too many" in done.err and not (tmp_path / "many.html").exists()


def test_a_port_that_is_taken_is_told(tmp_path):
    window = Window(scene_of(session()), tmp_path / "cells.csv")
    with pytest.raises(ConfigError, match="cannot be used"):
        Window(scene_of(session()), tmp_path / "cells.csv", urlsplit(window.url).port)
    window.close()


def test_a_notebook_has_it_as_a_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    window = nd.view(session())
    assert f'src="{window.url}"' in window._repr_html_() and window.url in repr(window)
    assert answer(window.url) == 200 and window.curation.path == tmp_path / "cells.csv"
    assert window.export(tmp_path / "page.html").stat().st_size > 10_000
    window.close()
    with pytest.raises(OSError, match="refused"):
        answer(window.url)
    with pytest.raises(DataError):
        nd.view(tmp_path / "none.zarr")
