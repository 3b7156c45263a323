"""The log of a curation: what stands follows from it, it survives, and strangers are refused."""

import threading

import pytest

from neurodyn.core.errors import DataError
from neurodyn.view.curation import COLUMNS, Action, Curation, read_log, verdicts, write_log

CELLS = ["a", "b", "c", "d"]


def played(*words: str):
    return verdicts(Action(*word.split()) for word in words)


@pytest.fixture
def curation(tmp_path) -> Curation:
    return Curation(tmp_path / "cells.csv", CELLS, "monday")


def test_the_last_verdict_stands_and_undo_takes_back_one_after_the_other():
    assert played("keep a", "drop a", "keep b").verdict == {"a": "drop", "b": "keep"}
    assert played("keep a", "drop a", "undo a").verdict == {"a": "keep"}
    assert played("keep a", "drop a", "undo a", "undo a").verdict == {}
    assert played("undo a", "keep a").verdict == {"a": "keep"}
    assert played("keep a", "undo a", "drop b").last == Action("drop", "b")


def test_merged_cells_go_on_as_one():
    found = played("drop b", "merge b a", "merge c b", "keep c")
    assert found.into == {"b": "a", "c": "a"} and found.verdict == {"a": "keep"}
    chain = played("merge b a", "merge d c", "merge c b")
    assert chain.into == {"b": "a", "d": "a", "c": "a"}
    assert played("merge b a", "merge a b").into == {"b": "a"}
    assert played("drop b", "merge b a", "undo b").verdict == {"b": "drop"}


def test_every_action_is_on_disk_with_who_and_when(curation):
    assert curation.verdicts().verdict == {}
    assert not curation.path.exists()
    curation.act("keep", "a", who="me")
    curation.act("merge", "b", "a")
    curation.act("undo")
    again = Curation(curation.path, CELLS, "monday")
    assert [each.action for each in again.actions()] == ["keep", "merge", "undo"]
    first, _, last = again.actions()
    assert (first.who, last.cell) == ("me", "b") and first.time.endswith("+00:00")
    assert again.verdicts().verdict == {"a": "keep"} and not again.verdicts().into
    assert [path.name for path in curation.path.parent.iterdir()] == ["cells.csv"]


def test_windows_on_one_log_lose_nothing(curation):
    def work(cell):
        for _ in range(5):
            Curation(curation.path, CELLS, "monday").act("keep", cell)

    threads = [threading.Thread(target=work, args=(cell,)) for cell in CELLS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.cell for each in curation.actions()) == sorted(CELLS * 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keep", "z"), "names cell 'z'"),
        (("merge", "a", "z"), "names cell 'z'"),
        (("merge", "a", "a"), "with itself"),
        (("delete", "a"), "no action 'delete'"),
        (("undo",), "nothing to undo"),
    ],
)
def test_what_cannot_be_done_is_refused_and_not_written(curation, words, said):
    with pytest.raises(DataError, match=said):
        curation.act(*words)
    assert not curation.path.exists()


def test_a_log_written_by_hand_needs_two_columns(curation):
    curation.path.write_text("cell,action\nb,drop\n")
    assert curation.act("keep", "a").verdict == {"b": "drop", "a": "keep"}
    assert curation.path.read_text().splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cell,monday,friday\na,0,1\n", "is not the log of a curation"),
        ("", "is not the log of a curation"),
        ("action,cell,session\nkeep,a,friday\n", "line 2 is on session 'friday'"),
        ("action,cell\nkeep,a\ndrop,z\n", "line 3 names cell 'z'"),
        ('action,cell\nkeep,"a\n', "cannot be read"),
    ],
)
def test_another_table_is_refused_and_left_alone(curation, text, said):
    curation.path.write_text(text)
    with pytest.raises(DataError, match=said):
        curation.act("keep", "a")
    assert curation.path.read_text() == text


def test_ids_with_commas_and_quotes_come_back(tmp_path):
    write_log(tmp_path / "log.csv", [Action("keep", 'plane 1, "left"')])
    assert read_log(tmp_path / "log.csv")[0].cell == 'plane 1, "left"'
