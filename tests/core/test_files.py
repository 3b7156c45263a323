"""Files: whole or absent, one writer at a time, errors in three lines."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.core.files import atomic, clear_partials, locked, make_folder, read_json, remove, sha256, write_json


def test_a_file_appears_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent.parent == target.parent
    assert target.read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("folder", [False, True])
def test_a_failed_block_leaves_what_was_there(folder, tmp_path):
    target = tmp_path / "a"
    with atomic(target, folder=folder) as temporary:
        (temporary / "x" if folder else temporary).write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic(target, folder=folder) as temporary:
        (temporary / "x" if folder else temporary).write_text("half")
        raise KeyboardInterrupt
    assert (target / "x" if folder else target).read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "run"
    for name in ("one", "two"):
        with atomic(target, folder=True) as temporary:
            (temporary / name).touch()
    assert [p.name for p in target.iterdir()] == ["two"]
    with atomic(target) as temporary:
        temporary.write_text("a file now")
    assert target.is_file()


def test_an_error_of_the_work_is_not_blamed_on_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a") as temporary:
        (tmp_path / "input").read_text()
        temporary.touch()


def test_a_place_that_cannot_be_written_is_a_work_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkError, match="Cannot write") as caught, atomic(tmp_path / "file" / "a"):
        pass
    assert caught.value.exit_code == 1
    assert len(str(caught.value).splitlines()) == 3
    with pytest.raises(WorkError), locked(tmp_path / "file" / "a"):
        pass
    with pytest.raises(WorkError):
        make_folder(tmp_path / "file" / "b")


def test_no_product_is_an_error(tmp_path):
    with pytest.raises(WorkError, match="Cannot write"), atomic(tmp_path / "a"):
        pass


def test_partials_of_killed_writers_are_cleared(tmp_path):
    code = (
        "import os, sys, pathlib; from neurodyn.core.files import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1]), folder=True) as t: (t / 'x').touch(); os._exit(9)"
    )
    target = tmp_path / "run"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    (tmp_path / ".run2.partial-x").mkdir()
    assert len(list(tmp_path.glob(".run.partial-*"))) == 1
    clear_partials(target)
    assert [p.name for p in tmp_path.iterdir()] == [".run2.partial-x"]


def test_the_lock_lets_one_in_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        with locked(tmp_path / "a"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import os, sys, pathlib; from neurodyn.core.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('in', flush=True); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False, stdout=subprocess.DEVNULL)
    assert (tmp_path / ".a.lock").exists()
    with locked(tmp_path / "a"):
        pass


def test_json_round_trip_and_errors(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "é"\n}\n'
    assert read_json(path) == {"b": 1, "a": "é"}
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(path)
    with pytest.raises(DataError, match="is missing"):
        read_json(tmp_path / "b.json")
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == "{"
    assert json.loads("1") == 1


def test_checksums_see_names_and_contents_and_not_the_clock(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x").write_text("x")
    os.utime(tmp_path / "two" / "deep" / "x", (0, 0))
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")
    (tmp_path / "two" / "deep" / "x").rename(tmp_path / "two" / "x")
    assert sha256(tmp_path / "one") != sha256(tmp_path / "two")
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_remove_follows_no_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    assert (tmp_path / "folder" / "x").exists()
    remove(tmp_path / "folder")
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_who_holds_the_lock_is_said_where_there_is_no_waiting(tmp_path):
    code = (
        "import sys, pathlib, time; from neurodyn.core.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(ConfigError) as caught, locked(tmp_path / "a", wait=0):
            pass
        assert f"process {holder.pid} on " in caught.value.found
        holder.stdin.close()
    with locked(tmp_path / "a", wait=0):
        assert str(os.getpid()) in (tmp_path / ".a.lock").read_text()
    assert list(tmp_path.iterdir()) == []
