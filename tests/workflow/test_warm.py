"""Jobs that share their imports: what they print, return and do is what the command by itself does."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neurodyn.workflow import warm

SERVER = """
import os, socket, sys, time
from neurodyn.workflow import warm
READY = "imported once"

def run():
    print("said", sys.argv[1:], os.environ["MARK"], READY)
    print("told", file=sys.stderr)
    if sys.argv[1] == "sleep":
        import signal
        signal.signal(signal.SIGTERM, lambda *_: (open("stopped", "w").close(), sys.exit(143)))
        open("asleep", "w").close()
        time.sleep(60)
    if sys.argv[1] == "die":
        os.kill(os.getpid(), 9)
    sys.exit(int(sys.argv[2]))

warm.serve(socket.socket(fileno=int(sys.argv[1])), ["json", "no_such_module"], run)
"""


@pytest.fixture
def address(tmp_path):
    with warm._listening(tmp_path / "jobs") as listener:
        command = [sys.executable, "-c", SERVER, str(listener.fileno())]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()])
    yield tmp_path / "jobs", server
    server.stdin.close()
    assert server.wait(20) in (0, -signal.SIGKILL)


def asked(address: Path, folder: Path, *argv: str) -> subprocess.Popen[bytes]:
    """Start one that asks, as a process of its own."""
    program = "import sys; from neurodyn.workflow import warm; sys.exit(warm.ask(sys.argv[1], sys.argv[2:], 1, 2))"
    environment = os.environ | {"MARK": "of the one who asks"}
    command = [sys.executable, "-c", program, str(address), *argv]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.02)


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_has_the_streams_folder_environment_and_code_of_its_own(address, tmp_path, code):
    process = asked(address[0], tmp_path, "decode", str(code), "two words")
    out, err = process.communicate(timeout=20)
    assert process.returncode == code and err == b"told\n"
    assert out.decode() == f"said ['decode', '{code}', 'two words'] of the one who asks imported once\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_is_stopped_stops_the_job(address, tmp_path, how):
    process = asked(address[0], tmp_path, "sleep", "0")
    wait_for(tmp_path / "asleep")
    process.send_signal(how)
    process.communicate(timeout=20)
    assert process.returncode == (143 if how == signal.SIGTERM else -signal.SIGKILL)
    wait_for(tmp_path / "stopped")


def test_a_job_that_is_killed_has_a_shells_code_and_the_others_go_on(address, tmp_path):
    sleeper = asked(address[0], tmp_path, "sleep", "0")
    wait_for(tmp_path / "asleep")
    for word, code in (("die", 137), ("other", 0)):
        process = asked(address[0], tmp_path, word, "0")
        process.communicate(timeout=20)
        assert process.returncode == code
    assert sleeper.poll() is None
    sleeper.send_signal(signal.SIGTERM)
    sleeper.communicate(timeout=20)


def test_jobs_end_with_the_run_that_needs_them(address, tmp_path):
    process = asked(address[0], tmp_path, "sleep", "0")
    wait_for(tmp_path / "asleep")
    address[1].stdin.close()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 143 and (tmp_path / "stopped").exists() and b"said" in out
    assert address[1].wait(20) == 0


def test_a_vanished_server_fails_the_job(address, tmp_path):
    process = asked(address[0], tmp_path, "sleep", "0")
    wait_for(tmp_path / "asleep")
    address[1].kill()
    _, err = process.communicate(timeout=20)
    assert process.returncode == warm.LOST and b"vanished" in err
    wait_for(tmp_path / "stopped")
