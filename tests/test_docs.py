"""The manual is true: generated pages are as generated, and what the pages tell to type works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from neurodyn.cli.app import VERBS, build
from neurodyn.cli.docs import command_pages, steps_page
from neurodyn.preprocess import STEPS

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"(?:`(?P<file>[\w./-]+)`[^\n`]*:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)


def bash(script, folder):
    """Run lines of a page, with neurodyn on PATH as in an environment that is active; the first failure ends it."""
    active = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-ec", script], cwd=folder, env=active, capture_output=True, text=True, check=False)


def test_pages_are_those_that_the_program_writes():
    pages = {f"commands/{name}.md": text for name, text in command_pages(build())} | {"steps.md": steps_page()}
    kept = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in DOCS.glob("commands/*.md")}
    kept["steps.md"] = (DOCS / "steps.md").read_text(encoding="utf-8")
    assert kept == pages, "write them again: uv run neurodyn docs -o docs"


def test_every_command_and_every_step_has_its_words():
    pages = dict(command_pages(build()))
    verbs = [verb.replace("_", "-") for verb in VERBS]
    assert {max((verb for verb in verbs if f"{name}-".startswith(f"{verb}-")), key=len) for name in pages} == set(verbs)
    for name, text in pages.items():
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        assert rows and all(re.search(r"[\w.)\]…] \|$", row) for row in rows), name
    said = steps_page().split("\n## ")[1:]
    assert [section.split("\n", 1)[0] for section in said] == STEPS.names()
    assert all(len(section.strip().splitlines()) > 1 for section in said)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_newcomers_path_is_followed_to_the_letter(tmp_path):
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"<!-- followed to the letter.*?```bash\n(.*?)```", text, re.DOTALL)
    done = bash(script, tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [line.split()[0] for line in text.splitlines() if " blocked  r2 " in line]
    for name in shown:
        assert re.search(rf"^{re.escape(name)} +ridge +blocked +r2 ", done.stderr, re.MULTILINE), name
    assert {"report.html", "session.nwb"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_on_models_is_followed_to_the_letter(tmp_path):
    script = ["set -e"]
    for block in BLOCK.finditer((DOCS / "add-a-model.md").read_text(encoding="utf-8")):
        if block["file"]:
            path = tmp_path / block["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "bash":
            script.append(block["text"])
    assert len(script) == 2 and {p.name for p in tmp_path.iterdir()} == {"narrow", "models"}
    done = bash("\n".join(script), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").exists() and "narrow" in done.stdout
    contract = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "tests/contract/test_backends.py",
        "-k",
        "narrow and traces",
    ]
    tested = subprocess.run(
        contract, cwd=DOCS.parent, env=os.environ | {"PYTHONPATH": str(tmp_path / "plugins")}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout[-3000:]
