"""The log of a curation: which cell was kept, dropped or merged, by whom and when. What stands follows from it."""

from __future__ import annotations

import csv
import getpass
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, locked

ACTIONS = ("keep", "drop", "merge", "undo")


@dataclass(frozen=True)
class Action:
    """One row of the log.

    Parameters
    ----------
    action
        One of `ACTIONS`; "undo" takes back the last one that stands.
    cell
        Id of the cell; of an undo that of the action it takes back.
    into
        Of a merge: the cell whose id the merged cell has.
    time
        UTC, ISO 8601.
    who
        Name of the user.
    session
        Session of the recording, so that a log is not taken for that of another one.
    """

    action: str
    cell: str
    into: str = ""
    time: str = ""
    who: str = ""
    session: str = ""


COLUMNS = tuple(each.name for each in fields(Action))


@dataclass(frozen=True)
class Verdicts:
    """What a log amounts to.

    Parameters
    ----------
    verdict
        Cell -> "keep" or "drop"; who is in neither way decided is not in it.
    into
        Merged cell -> the cell whose id they share, which is not in it.
    last
        The action that an undo would take back; None where there is none.
    """

    verdict: dict[str, str] = field(default_factory=dict)
    into: dict[str, str] = field(default_factory=dict)
    last: Action | None = None

    def root(self, cell: str) -> str:
        """Return the id under which a cell goes on."""
        return self.into.get(cell, cell)


def standing(actions: Iterable[Action]) -> list[Action]:
    """Return the actions that were not taken back, in order."""
    stand: list[Action] = []
    for each in actions:
        if each.action != "undo":
            stand.append(each)
        elif stand:
            stand.pop()
    return stand


def verdicts(actions: Iterable[Action]) -> Verdicts:
    """Replay a log.

    A verdict on a merged cell is one on all that are merged with it; a merged cell has the verdict of the one it went into.
    """
    stand = standing(actions)
    found = Verdicts(last=stand[-1] if stand else None)
    for each in stand:
        cell = found.root(each.cell)
        if each.action != "merge":
            found.verdict[cell] = each.action
            continue
        into = found.root(each.into)
        if cell != into:
            moved = [cell, *(one for one, root in found.into.items() if root == cell)]
            found.into.update(dict.fromkeys(moved, into))
            found.verdict.pop(cell, None)
    return found


@dataclass(frozen=True)
class Curation:
    """A log on disk, read anew whenever it is asked, so that two windows on one recording agree.

    Parameters
    ----------
    path
        The CSV file, which need not be there yet.
    cells
        Ids that there are.
    session
        Session of the recording.
    """

    path: Path
    cells: Sequence[str]
    session: str

    def actions(self) -> list[Action]:
        """Return every action, undone ones too; none where there is no file.

        Raises
        ------
        DataError
            If the file is no log, is that of another session, or names cells that there are not.
        """
        if not self.path.exists():
            return []
        actions = read_log(self.path)
        for number, each in enumerate(actions, start=2):
            self._check(each, f"{self.path}, line {number}")
        return actions

    def verdicts(self) -> Verdicts:
        """Return what stands."""
        return verdicts(self.actions())

    def act(self, action: str, cell: str = "", into: str = "", who: str | None = None) -> Verdicts:
        """Append an action, atomically, and return what stands then.

        Raises
        ------
        DataError
            If the action or a cell is unknown, or there is nothing to undo.
        WorkError
            If the file cannot be written.
        """
        with locked(self.path):
            actions = self.actions()
            if action == "undo":
                cell = self._undone(actions).cell
            made = Action(action, cell, into, _now(), _user() if who is None else who, self.session)
            self._check(made, "This action")
            actions.append(made)
            write_log(self.path, actions)
        return verdicts(actions)

    def _undone(self, actions: Sequence[Action]) -> Action:
        stand = standing(actions)
        if not stand:
            raise DataError(
                "There is nothing to undo.", f"No action stands in {self.path}.", "Keep, drop or merge first."
            )
        return stand[-1]

    def _check(self, each: Action, where: str) -> None:
        if each.action not in ACTIONS:
            raise DataError(
                f"{where}: there is no action '{each.action}'.", f"Known: {', '.join(ACTIONS)}.", "Mend the row."
            )
        if each.session not in ("", self.session):
            raise DataError(
                f"{where} is on session '{each.session}'.",
                f"The recording is of session '{self.session}'.",
                "Name the log of this recording, or a new one: --cells FILE",
            )
        for cell in [each.cell, *([each.into] if each.action == "merge" else [])]:
            if cell not in self.cells:
                raise DataError(
                    f"{where} names cell '{cell}', which the recording has not.",
                    f"It has {len(self.cells)} cells: {', '.join(self.cells[:5])}{', …' if len(self.cells) > 5 else ''}.",
                    "Name the recording that was curated, or mend the row.",
                )
        if each.action == "merge" and each.cell == each.into:
            raise DataError(
                f"{where} merges cell '{each.cell}' with itself.", "Expected two cells.", "Choose another cell."
            )


def read_log(path: Path) -> list[Action]:
    """Read a log; columns but `action` and `cell` may be absent.

    Raises
    ------
    DataError
        If the file is no log.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or [])
            rows = list(reader) if {"action", "cell"} <= set(names) else None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read.", f"{error}.", "Name another file: --cells FILE") from error
    if rows is None:
        raise DataError(
            f"{path} is not the log of a curation.",
            f"Its columns are {', '.join(names[:6]) or 'none'}; expected {', '.join(COLUMNS)}.",
            "Name another file: --cells FILE",
        )
    return [Action(**{name: (row.get(name) or "").strip() for name in COLUMNS}) for row in rows]


def write_log(path: Path, actions: Iterable[Action]) -> None:
    """Write a log atomically."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(each) for each in actions)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""
