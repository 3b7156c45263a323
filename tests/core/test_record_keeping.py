"""Errors, log lines and provenance."""

import hashlib
import json
import logging
import pickle

import pytest

from neurodyn.core import errors
from neurodyn.core.log import log_to
from neurodyn.core.provenance import git_state, provenance, version


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.NeurodynError, 1),
        (errors.WorkError, 1),
        (errors.ConfigError, 2),
        (errors.UnknownNameError, 2),
        (errors.DataError, 3),
    ],
)
def test_errors_have_three_lines_and_a_code_and_cross_processes(kind, code):
    error = kind("What.", "Found.", "Fix.")
    assert str(error) == "What.\nFound.\nFix."
    assert error.exit_code == code
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))


def test_every_exception_of_ours_is_in_the_one_tree():
    ours = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(ours) == 5
    assert all(issubclass(kind, errors.NeurodynError) for kind in ours)


def test_the_log_is_json_lines_with_fields_and_tracebacks(tmp_path):
    handler = log_to(tmp_path / "log.jsonl")
    logger = logging.getLogger("neurodyn.somewhere")
    try:
        logger.warning("epoch %d", 3, extra={"fields": {"loss": 0.5, "path": tmp_path}})
        try:
            raise ValueError("bad")
        except ValueError:
            logger.exception("failed")
        logging.getLogger("elsewhere").warning("not ours")
    finally:
        logging.getLogger("neurodyn").removeHandler(handler)
        handler.close()
    first, second = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("warning", "neurodyn.somewhere", "epoch 3")
    assert (first["loss"], first["path"]) == (0.5, str(tmp_path))
    assert first["time"].endswith("+00:00")
    assert "ValueError: bad" in second["traceback"]


def test_provenance_says_what_is_needed_to_repeat(tmp_path, monkeypatch):
    (tmp_path / "movie.tif").write_bytes(b"frames")
    monkeypatch.setattr("sys.argv", ["/somewhere/neurodyn", "train", "cst"])
    found = provenance([tmp_path / "movie.tif"], {"split": 3})
    assert found["command"] == ["neurodyn", "train", "cst"]
    assert found["inputs"] == {str(tmp_path / "movie.tif"): hashlib.sha256(b"frames").hexdigest()}
    assert found["seeds"] == {"split": 3}
    assert found["versions"]["numpy"] == version("numpy")
    json.dumps(found)


def test_versions_and_git_state():
    assert version("no-such-package") == "absent"
    assert version("numpy")[0].isdigit()
    state = git_state()
    assert state == {} or len(state["commit"]) == 40
