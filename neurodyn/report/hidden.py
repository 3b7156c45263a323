"""Hidden frames: a model beside interpolation, and beside the other models on the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Canvas

from neurodyn.data.scores import Score, read_scores
from neurodyn.report.blocks import Figure, Part, Section, Table, interval, number
from neurodyn.report.style import BLACK, BLUE, GREY, draw

TABLE = "reconstruction.csv"
R2 = "hidden_frame_r2"
SIMPLE = ("linear interpolation", "last value")


def held_out(scores: Sequence[Score]) -> list[Score]:
    """Return R² on hidden frames of the held-out part."""
    return [s for s in scores if s.metric == R2 and s.split.rpartition(":")[2] in ("test", "all")]


def hidden_summary(scores: Sequence[Score], beside: Sequence[Path]) -> list[str]:
    """Say how well hidden frames were filled in by a model, interpolation, and the other models on the page.

    Parameters
    ----------
    scores
        Of the run.
    beside
        Folders of other runs; those that were scored on the same windows are named, too.
    """
    held = held_out(scores)
    if not held:
        return []
    rows = {score.model: score for score in [*held, *_same_windows(held[0], beside)]}
    said = [
        f"{s.model} {number(s.value, 2)} (95 % interval {number(s.ci_low, 2)} to {number(s.ci_high, 2)})"
        for s in sorted(rows.values(), key=lambda s: s.model in SIMPLE)
    ]
    return [f"R² on hidden frames of held-out windows: {'; '.join(said)}; {held[0].n} {held[0].unit}."]


def _key(score: Score) -> tuple[object, ...]:
    """What two scores must share to be of the same windows."""
    return score.session, score.target, score.split, score.n, score.unit


def _same_windows(own: Score, folders: Sequence[Path]) -> list[Score]:
    tables = [folder / TABLE for folder in folders if (folder / TABLE).is_file()]
    return [s for table in tables for s in held_out(read_scores(table)) if _key(s) == _key(own)]


def hidden_figure(scores: Sequence[Score]) -> Figure | None:
    """Draw R² on hidden frames with its interval, a row per model; None without such scores."""
    rows = held_out(scores)
    if not rows:
        return None

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for y, row in enumerate(rows):
            colour, marker = (GREY, "o") if row.model in SIMPLE else (BLUE, "D")
            axes.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.4)
            axes.plot(row.value, y, marker, color=colour, ms=5, ls="none")
        axes.axvline(0, color=BLACK, lw=0.6, ls="--")
        axes.set_yticks(range(len(rows)), [row.model for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("R² on hidden frames (1 is perfect, 0 no better than the mean)")

    caption = f"Hidden frames of held-out windows filled in, {rows[0].n} {rows[0].unit}; bars: 95 % intervals."
    height = 0.8 + 0.3 * len(rows)
    return draw(paint, height=height, alt="R² on hidden frames by model", caption=caption)


def hidden_part(folders: Sequence[Path]) -> Part | None:
    """Set runs that were scored on the same windows side by side; None where there are not two models."""
    tables = [folder / TABLE for folder in folders if (folder / TABLE).is_file()]
    groups: dict[tuple[object, ...], dict[tuple[str, int], Score]] = {}
    for score in (score for table in tables for score in held_out(read_scores(table))):
        seed = 0 if score.model in SIMPLE else score.seed
        groups.setdefault(_key(score), {})[score.model, seed] = score
    shown = [rows for rows in (_ordered(group) for group in groups.values()) if _several(rows)]
    if not shown:
        return None
    return Part(
        title="Hidden frames side by side",
        subtitle="Models scored on the same windows",
        summary=[_best(rows) for rows in shown],
        sections=[_section(rows) for rows in shown],
    )


def _ordered(group: dict[tuple[str, int], Score]) -> list[Score]:
    return sorted(group.values(), key=lambda score: -score.value)


def _several(rows: Sequence[Score]) -> bool:
    return len({row.model for row in rows if row.model not in SIMPLE}) > 1


def _best(rows: Sequence[Score]) -> str:
    said = "; ".join(f"{s.model} {number(s.value, 2)} {interval(s.ci_low, s.ci_high, 2)}" for s in rows)
    return f"R² on hidden frames of {rows[0].session}, best first: {said}."


def _section(rows: list[Score]) -> Section:
    figure = hidden_figure(rows)
    cells = [[s.model, str(s.seed), number(s.value), interval(s.ci_low, s.ci_high), str(s.n)] for s in rows]
    header = ["Model", "Seed", "R²", "95 % interval", f"n ({rows[0].unit})"]
    caption = "Hidden frames of the same held-out windows; how many frames are hidden is a setting of each model."
    table = Table(caption, header, cells, frozenset({2, 3, 4}))
    return Section(f"{rows[0].target}, {rows[0].session}", [*([figure] if figure else []), table])
