"""The sample movie: taken once, checked, kept; no test here uses the network."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from neurodyn.core.errors import WorkError
from neurodyn.fetch import sample

MOVIE = b"a movie" * 1000


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """Put a stand-in for uv first on the path; it unpacks `MOVIE` and counts its calls."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "uv"
    script.write_text(
        f"""#!{sys.executable}
import pathlib, sys
pathlib.Path({str(tmp_path / "calls")!r}).open("a").write(" ".join(sys.argv) + "\\n")
movie = pathlib.Path(sys.argv[sys.argv.index("--target") + 1], {sample.MEMBER!r})
movie.parent.mkdir(parents=True)
movie.write_bytes(b"a movie" * 1000)
"""
    )
    script.chmod(0o755)
    monkeypatch.setattr(sample.sys, "executable", str(folder / "python"))
    monkeypatch.setattr(sample, "SHA256", hashlib.sha256(MOVIE).hexdigest())
    return script


def test_the_second_call_finds_the_movie_in_the_cache(uv, tmp_path):
    cache = tmp_path / "cache"
    movie = sample.tutorial_movie(cache)
    assert movie.read_bytes() == MOVIE
    assert sample.tutorial_movie(cache) == movie
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 1
    assert "optinist==2.4.1" in calls[0]
    assert [path.name for path in cache.iterdir()] == [movie.name]


def test_a_damaged_movie_is_taken_again(uv, tmp_path):
    movie = sample.tutorial_movie(tmp_path / "cache")
    movie.write_bytes(MOVIE[:100])
    assert sample.tutorial_movie(tmp_path / "cache").read_bytes() == MOVIE


def test_another_file_under_the_same_name_is_refused(uv, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "SHA256", "0" * 64)
    with pytest.raises(WorkError, match="not the expected one"):
        sample.tutorial_movie(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_failures_of_uv_are_passed_on_in_three_lines(uv, tmp_path, monkeypatch):
    uv.write_text("#!/bin/sh\necho 'error: no\n\nroute to host' >&2\nexit 2\n")
    with pytest.raises(WorkError, match="no route to host") as caught:
        sample.tutorial_movie(tmp_path / "cache")
    assert len(str(caught.value).splitlines()) == 3
    uv.unlink()
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    with pytest.raises(WorkError, match="uv was not found"):
        sample.tutorial_movie(tmp_path / "cache")


def test_a_cache_that_cannot_be_written(uv, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkError, match="Cannot write"):
        sample.tutorial_movie(Path(tmp_path / "file" / "cache"))
