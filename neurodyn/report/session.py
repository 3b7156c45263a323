"""One session from movie to decoding, told in one part: its cells, what they do, what they respond to, what they tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurodyn.core.files import read_json
from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Part, Section
from neurodyn.report.collect import collect
from neurodyn.report.glance import glance_section
from neurodyn.report.glance_movie import movie_section
from neurodyn.respond.output import STORE, open_responses

LAST = ("Data", "Quality")  # what is looked up comes after what is looked at


def session_part(paths: Sequence[Path]) -> Part | None:
    """Return one part on a recording, its responses and its decodings; None where the paths are not of one session.

    Parameters
    ----------
    paths
        One recording, and folders with what was made of it, by the session's name.
    """
    recordings = [path for path in paths if (path / "zarr.json").is_file()]
    made = [path for path in paths if path not in recordings]
    if len(recordings) != 1:
        return None
    recording = Recording.open(recordings[0])
    sessions = {path: _sessions_of(path) for path in made}
    if any(names != [recording.session] for names in sessions.values()):
        return None
    responses = [path for path in made if (path / STORE).is_dir()]
    found = open_responses(responses[0]) if responses else None
    glance = glance_section(recording, found) or movie_section(recording, found)
    return _joined(
        [collect(path) for path in [recordings[0], *responses, *(path for path in made if path not in responses)]],
        [glance] if glance else [],
        _missing(recording, recordings[0], bool(responses), len(made) > len(responses)),
    )


def _sessions_of(path: Path) -> list[str]:
    """Return the sessions that responses or decodings are of; none of other folders."""
    if (path / STORE).is_dir():
        return [str(open_responses(path).attrs["session"])]
    records = [read_json(file) for file in sorted(path.glob("decode*.json"))] if path.is_dir() else []
    return sorted({session["session"] for record in records for session in record["sessions"]})


def _joined(parts: Sequence[Part], first: Sequence[Section], missing: Sequence[str]) -> Part:
    sections = [*first, *(section for part in parts for section in part.sections)]
    last = [section for section in sections if section.title.startswith(LAST)]
    methods = {str(sentence): sentence for part in parts for sentence in part.methods}
    return Part(
        title=parts[0].title,
        subtitle="Session" if len(parts) > 1 else parts[0].subtitle,
        summary=[sentence for part in parts for sentence in part.summary],
        sections=[*(section for section in sections if section not in last), *last],
        missing=[*missing, *(line for part in parts for line in part.missing)],
        methods=list(methods.values()),
        references=list(dict.fromkeys(source for part in parts for source in part.references)),
    )


def _missing(recording: Recording, path: Path, responses: bool, decoding: bool) -> list[str]:
    """Say what is left out, why, and what makes it."""
    said = []
    table = recording.table("stimulus")
    if table is None or not table.sizes.get("event", 0):
        none = not (responses or decoding)
        said += ["Responses and decoding: the recording has no stimulus. Add it as it is read: --stimulus FILE"] * none
    else:
        said += [] if responses else [f"Responses: not asked for. Make them: neurodyn respond {path}"]
        said += [] if decoding else [f"Decoding: not asked for. Make it: neurodyn decode {path} --target COLUMN"]
    if recording.indicator == "unknown":
        said.append("Indicator: not told, so that no step could go by its kinetics. Tell it: --indicator NAME")
    return said
