"""The manual is a site: it builds without a warning, and every page can be found."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_site_builds_strictly_and_has_every_page(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("index.html")}
    assert {"index.html", "api/index.html", "tutorials/movie/index.html", "commands/decode/index.html"} <= pages
    reference = (tmp_path / "site/api/index.html").read_text(encoding="utf-8")
    for name in ("open", "read", "preprocess", "fit", "infer", "decode", "report"):
        assert f'id="neurodyn.api.{name}"' in reference, name
    notebook = (tmp_path / "site/tutorials/notebook/index.html").read_text(encoding="utf-8")
    assert "from_arrays" in notebook


def test_every_command_and_every_example_is_linked():
    listed = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"commands/([a-z-]+)\.md", listed)) == {
        path.stem for path in (ROOT / "docs/commands").iterdir()
    }
    shown = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert set(re.findall(r"examples/(\w+)\.py", shown)) == {path.stem for path in (ROOT / "examples").glob("*.py")}
