"""The wheel carries presets and pipelines; the tree keeps its layers and its shape; the README is true."""

import ast
import importlib
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from neurodyn.view.server import SCRIPTS

ROOT = Path(__file__).resolve().parents[1]


def run(*args: object, cwd: Path = ROOT, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Count non-blank, non-comment lines of a function, its docstring aside."""
    doc = node.body[0] if ast.get_docstring(node) is not None else None
    skip = range(doc.lineno, (doc.end_lineno or doc.lineno) + 1) if doc is not None else range(0)
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return sum(
        1 for i in lines if i not in skip and source[i - 1].strip() and not source[i - 1].lstrip().startswith("#")
    )


def test_ninety_percent_of_functions_are_short() -> None:
    lengths = []
    for path in (ROOT / "neurodyn").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        nodes = ast.walk(ast.parse(text))
        lengths += [
            code_lines(n, text.splitlines()) for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    assert len(lengths) > 300
    assert sorted(lengths)[int(0.9 * len(lengths))] <= 20


def test_no_file_of_the_package_is_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "neurodyn").rglob("*.py")}
    assert len(lengths) > 300
    assert {str(path): length for path, length in lengths.items() if length > 400} == {}


def test_layers_hold() -> None:
    assert "0 broken" in run(Path(sys.executable).with_name("lint-imports")).stdout


@pytest.mark.timeout(600)
def test_the_wheel_carries_presets_and_pipelines(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    run(uv, "build", "--wheel", "-o", tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert {"index.html", "style.css", *SCRIPTS} <= {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    light = ["typer", "rich", "pydantic", "pyyaml"]
    run(uv, "pip", "install", "--python", python, "--no-deps", wheel)
    run(uv, "pip", "install", "--python", python, *light)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    models = run(python, "-m", "neurodyn", "list", "models", cwd=elsewhere).stdout
    assert {line.split()[0] for line in models.splitlines()} >= {"cst", "pca"}
    shown = run(python, "-m", "neurodyn", "show", "pipeline", "demo", cwd=elsewhere).stdout
    assert shown.strip() == (ROOT / "pipelines" / "demo.yaml").read_text(encoding="utf-8").strip()


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    return [
        line.strip() for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")
    ]


def test_readme_names_the_two_commands_and_every_verb() -> None:
    from neurodyn.cli.app import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install uv && uv run neurodyn demo" in text and "pip install uv && uv run pytest" in text
    assert all(f"`neurodyn {verb.replace('_', '-')}" in text for verb in VERBS)
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / link).exists(), link


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_readme_commands_run(tmp_path: Path) -> None:
    commands = [c for c in readme_commands() if "uv run pytest" not in c]
    assert len(commands) >= 5
    script = "set -eu\nneurodyn() { " + sys.executable + ' -m neurodyn "$@"; }\n'
    script += "\n".join(c.replace("pip install uv && uv run ", "") for c in commands)
    run("bash", "-c", script, cwd=tmp_path)


def test_contributing_names_registries_and_rooms_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \w+ \| `([\w.]+):(\w+)` \| `([\w/.]+)`.* \| `([\w.]+)` \|$", text, flags=re.M)
    assert len(rows) == 5
    for module, name, contract, group in rows:
        assert getattr(importlib.import_module(module), name)._group == group
        assert (ROOT / "neurodyn" / contract).is_file()
    rooms = set(re.findall(r"`(\w+)`", text.split("| room | holds |")[1].split("\n\n")[0]))
    there = {path.stem for path in (ROOT / "neurodyn").iterdir() if (path / "__init__.py").exists()} | {"api"}
    assert there <= rooms
