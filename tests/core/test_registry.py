"""Registries: names without imports, entry points, closest matches."""

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from neurodyn.core.errors import UnknownNameError
from neurodyn.core.registry import Registry, unknown


@pytest.fixture
def steps():
    return Registry("step", {"json": "json.decoder:JSONDecoder", "broken": "no.such.module:Thing"}, "neurodyn.nothing")


def test_a_class_is_imported_on_first_use(steps):
    import json

    assert steps.names() == ["broken", "json"]
    assert steps.get("json") is json.JSONDecoder
    with pytest.raises(ModuleNotFoundError):
        steps.get("broken")


def test_other_packages_add_names_but_never_replace_ours(steps, monkeypatch):
    points = [EntryPoint("extra", "csv:Sniffer", "g"), EntryPoint("json", "csv:Sniffer", "g")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "neurodyn.nothing" else [])
    assert steps.names() == ["broken", "extra", "json"]
    assert steps.get("extra").__name__ == "Sniffer"
    assert steps.get("json").__name__ == "JSONDecoder"


def test_unknown_names_get_the_closest_match_and_the_full_list(steps):
    with pytest.raises(UnknownNameError) as caught:
        steps.get("jsonn")
    assert caught.value.exit_code == 2
    assert str(caught.value).splitlines() == [
        "There is no step named 'jsonn'.",
        "Known: broken, json.",
        "Did you mean 'json'?",
    ]
    assert "neurodyn list steps" in str(unknown("step", "zzz", ["json"]))
    assert "Known: none." in str(unknown("step", "zzz", []))


def test_summary_is_read_without_importing(steps):
    assert steps.summary("json") == "Simple JSON <https://json.org> decoder"
    with pytest.raises(ModuleNotFoundError):
        steps.summary("broken")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("neurodyn.readers.read", "READERS"),
        ("neurodyn.simulate", "SIMULATORS"),
    ],
)
def test_listing_and_summing_up_import_no_plug_in(module, name):
    code = (
        f"import sys; from {module} import {name} as r; before = set(sys.modules)\n"
        "lines = [r.summary(n) for n in r.names()]; assert all(lines), lines\n"
        "new = {m for m in set(sys.modules) - before if m in {t.split(':')[0] for t in r.targets().values()}}\n"
        "assert not new, new; assert not {'torch', 'pynwb', 'tifffile'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
