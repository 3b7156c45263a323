"""How what is shown was made: resolved configuration, versions and checksums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurodyn.report.blocks import Section, Table, Text


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = "–" if value is None else str(value)
    return flat


def config_section(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> Section:
    """Show every value of a configuration, and where it came from."""
    origins = provenance.get("origins") or {}
    values = _flatten({key: value for key, value in config.items() if key != "recordings"})
    rows = [[key, value, origins.get(key, "default" if origins else "–")] for key, value in values.items()]
    table = Table(
        "Resolved configuration, and where each value came from.", ["Key", "Value", "Origin"], rows, small=True
    )
    return Section("Configuration", [table], folded=True)


def provenance_section(provenance: Mapping[str, Any]) -> Section:
    """Show how to repeat a run."""
    if not provenance:
        return Section("Provenance", [Text("There is no provenance record.", missing=True)])
    plain = {
        "command": " ".join(map(str, provenance.get("command", []))),
        "time (UTC)": provenance.get("time_utc", "–"),
        **{f"version of {name}": value for name, value in (provenance.get("versions") or {}).items()},
        **_flatten({key: provenance.get(key) or {} for key in ("machine", "git")}),
        **{f"seed of {name}": value for name, value in (provenance.get("seeds") or {}).items()},
        **{f"sha256 of {name}": value for name, value in (provenance.get("inputs") or {}).items()},
    }
    rows = [[key, str(value)] for key, value in plain.items()]
    return Section("Provenance", [Table("How to repeat it.", ["What", "Value"], rows, small=True)], folded=True)
