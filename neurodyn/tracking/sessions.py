"""The cells that sessions share, found by where they lie and how they look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodyn.data.recording import Recording
from neurodyn.tracking.align import Alignment, align, check_same_field, moved, same_place
from neurodyn.tracking.field import Field, fields_of
from neurodyn.tracking.identity import identities, probabilities
from neurodyn.tracking.pairs import Model, all_pairs, fit_model, reach_of


@dataclass(frozen=True)
class Tracked:
    """The same cells over sessions.

    Parameters
    ----------
    cells
        {session: row} of every cell, in order of the first session that has it.
    probability
        Mean probability over each cell's pairs of sessions, shape (cell,); NaN for a cell of one session.
    fields
        The sessions' fields in the plane of the reference.
    as_recorded
        The same fields before they were aligned.
    alignments
        Where the points of the reference lie in each session.
    reference
        Which session is the reference.
    model
        What the probabilities come from.
    false_positives
        Expected share of matched pairs that are two cells.
    false_negatives
        Expected share of pairs of one cell that were not matched.
    """

    cells: list[dict[int, int]]
    probability: np.ndarray
    fields: list[Field]
    as_recorded: list[Field]
    alignments: list[Alignment]
    reference: int
    model: Model
    false_positives: float
    false_negatives: float

    @property
    def rows(self) -> dict[str, list[int | None]]:
        """Cell -> the row it has in every session, None where it was not found."""
        return {str(k): [cell.get(s) for s in range(len(self.fields))] for k, cell in enumerate(self.cells)}


def track(recordings: Sequence[Recording]) -> Tracked:
    """Find the same cells in sessions: align their fields, judge pairs of near cells, and join them to identities.

    Raises
    ------
    DataError
        If a session has no masks, shows another field, or too few cells lie near each other.
    """
    plain = fields_of(recordings)
    reference = _reference(plain)
    alignments = [same_place() if k == reference else align(plain[reference], field) for k, field in enumerate(plain)]
    for field, alignment in zip(plain, alignments, strict=True):
        check_same_field(plain[reference], field, alignment)
    fields = [moved(field, alignment) for field, alignment in zip(plain, alignments, strict=True)]
    between, within = all_pairs(fields, reach_of(fields))
    model = fit_model(list(between.values()), within)
    probability = {key: model.probability(pairs) for key, pairs in between.items()}
    cells = identities([field.centres.shape[0] for field in fields], between, probability)
    matched = probabilities(cells, between, probability)
    every = np.array([p for each in matched for p in each])
    total = sum(float(p.sum()) for p in probability.values())
    return Tracked(
        cells, np.array([np.mean(each) if each else np.nan for each in matched]), fields, plain, alignments, reference, model,
        false_positives=float(1 - every.mean()) if every.size else 0.0,
        false_negatives=max(0.0, 1 - float(every.sum()) / total) if total else 0.0,
    )  # fmt: skip


def summary(tracked: Tracked, names: Sequence[str]) -> dict[str, Any]:
    """Return what is worth keeping of how sessions were matched, for JSON.

    Parameters
    ----------
    names
        Of the sessions.
    """
    shape = tracked.fields[0].shape
    aligned = {
        name: {
            "rotation_degrees": round(each.angle, 3),
            "shift_pixels": [round(float(by), 2) for by in each.shift(shape)],
            "likeness": round(each.likeness, 3),
            "likeness_of_mirror_images": round(each.mirrored, 3),
            "aligned_by": each.by or "itself",
        }
        for name, each in zip(names, tracked.alignments, strict=True)
    }
    return {
        "reference": names[tracked.reference],
        "model": tracked.model.by,
        "share_of_near_pairs": round(tracked.model.share, 4),
        "false_positives": round(tracked.false_positives, 4),
        "false_negatives": round(tracked.false_negatives, 4),
        "alignment": aligned,
    }


def _reference(fields: Sequence[Field]) -> int:
    """Return the session with most cells: the others find their counterparts there."""
    return int(np.argmax([field.centres.shape[0] for field in fields]))
