"""The cells of a recording come first in its report, flagged ones first among them; movies get a map of activity."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.readers.masks import Mask, mask_columns
from neurodyn.report.activity import activity, activity_section
from neurodyn.report.cells import cells_section, chosen, judged
from neurodyn.report.collect import collect
from neurodyn.report.outlines import outlines
from neurodyn.report.raster import look, measures, order_of
from neurodyn.report.trials import trials_of

FRAMES, CELLS = 900, 12


def traces(rng):
    """Return traces of three groups of cells whose events come together, shape (time, roi), and the group of each."""
    group = np.arange(CELLS) % 3
    kernel = np.exp(-np.arange(40) / 12)
    events = np.stack([np.convolve(rng.random(FRAMES) < 0.01, kernel)[:FRAMES] for _ in range(3)], axis=1)
    return 3 * events[:, group] + 0.3 * rng.standard_normal((FRAMES, CELLS)), group


def recorded(faults=True, **more):
    rng = np.random.default_rng(0)
    values, _ = traces(rng)
    y, x = np.mgrid[:40, :60]
    disks = [np.nonzero((y - 6 - 12 * (k // 4)) ** 2 + (x - 7 - 14 * (k % 4)) ** 2 < 12) for k in range(CELLS)]
    masks = [Mask(rows, columns, np.ones(rows.size)) for rows, columns in disks]
    if faults:
        masks[3] = Mask(disks[3][0][:5], disks[3][1][:5], np.ones(5))
        values[:, 5] = rng.standard_normal(FRAMES)
        values[:, 7] = np.nan
    table = {"cell": ("roi", np.arange(CELLS) != 1) if faults else ("roi", np.arange(CELLS))}
    qc = {"mean_image": (("y", "x"), rng.random((40, 60)).astype(np.float32), {"units": "counts"})}
    start = np.arange(5.0, 85, 5)
    stimulus = {"start": start, "stop": start + 1, "direction": np.arange(start.size) % 4 * 90.0}
    return Recording.from_arrays(
        {"dff": values}, rate_hz=10, session="m1", rois=xr.Dataset(table | mask_columns(masks)), qc=xr.Dataset(qc),
        stimulus=stimulus, **more,
    )  # fmt: skip


def test_flagged_cells_come_first_with_the_reason():
    made = recorded()
    cells = judged(made, look(made, "dff"))
    flags = {cell.roi: cell.flags for cell in cells if cell.flags}
    assert flags == {1: ("not a cell",), 3: ("small (5 px)",), 5: ("faint",), 7: ("no data",)}
    assert {cell.roi for cell in chosen(cells)[:4]} == set(flags) and len(chosen(cells)) == CELLS


def test_a_sound_recording_has_no_flags():
    made = recorded(faults=False)
    assert not any(cell.flags for cell in judged(made, look(made, "dff")))


def test_cells_are_the_first_section_of_a_recordings_report(tmp_path):
    made = recorded()
    part = collect(made.save(tmp_path / "a.zarr"))
    first = part.sections[0]
    assert first.title == "Cells: m1"
    assert [block.kind for block in first.blocks] == ["figure", "text", "figure", "figure"]
    assert "4 of them ask for a look" in first.blocks[1].text
    assert "strongest direction" in first.blocks[3].caption
    quality = next(section for section in part.sections if section.title.startswith("Quality"))
    assert not any("Mean of the registered movie" in getattr(block, "caption", "") for block in quality.blocks)


def test_without_masks_and_stimuli_traces_are_shown_all_the_same():
    made = Recording.from_arrays({"dff": traces(np.random.default_rng(1))[0][:, :2]}, rate_hz=10)
    section = cells_section(made)
    assert section is not None and [block.kind for block in section.blocks] == ["text", "figure"]


def test_sorting_puts_cells_together_that_are_active_together():
    values, group = traces(np.random.default_rng(2))
    sorted_groups = group[order_of(values)]
    assert (np.diff(sorted_groups) != 0).sum() == 2


def test_noise_and_skewness_of_known_traces():
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((20000, 1))
    events = noise + 50.0 * (rng.random((20000, 1)) < 0.02)
    values = np.concatenate([noise, events, np.full((20000, 1), np.nan)], axis=1)
    snr, skewness, missing = measures(values)
    assert snr[0] == pytest.approx(2.33, abs=0.1) and snr[1] == pytest.approx(50, rel=0.1) and np.isnan(snr[2])
    assert skewness[0] == pytest.approx(0, abs=0.1) and skewness[1] > 3
    assert missing.tolist() == [0, 0, 1]


def test_outlines_go_around_the_pixels_and_over_holes():
    ring = np.array([(y, x) for y in range(3, 8) for x in range(4, 9) if (y, x) != (5, 6)])
    table = xr.Dataset(mask_columns([Mask(ring[:, 0], ring[:, 1], np.ones(len(ring))), Mask(*[np.empty(0)] * 3)]))
    (line,), none = outlines(table)
    np.testing.assert_allclose(line.min(axis=0), (2.5, 3.5))
    np.testing.assert_allclose(line.max(axis=0), (7.5, 8.5))
    assert none == []


def test_conditions_are_told_apart_by_the_first_column_that_repeats():
    trials = trials_of(recorded())
    assert trials is not None and trials.column == "direction" and trials.length == pytest.approx(1.0)
    assert np.unique(trials.condition).size == 4
    assert trials_of(Recording.from_arrays({"dff": np.ones((9, 2))}, rate_hz=10.0)) is None


def movie():
    """Return a movie of noise with two cells, counts, shape (time, y, x)."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:48, :64]
    cells = [((y - cy) ** 2 + (x - cx) ** 2 < 16) for cy, cx in ((12, 15), (35, 50))]
    shared = 30 * np.sin(np.arange(400) / 9)[:, None, None]
    signal = sum(60 * (rng.random(400) < 0.1)[:, None, None] * cell for cell in cells)
    return 200 + shared + signal + 10 * rng.standard_normal((400, 48, 64)), cells


def test_the_activity_map_shows_cells_and_not_what_the_whole_field_does():
    values, cells = movie()
    made = Recording.from_arrays({"fluorescence": values}, rate_hz=10)
    found = activity(made, "fluorescence")
    inside = cells[0] | cells[1]
    assert found.correlation[inside].mean() > 0.4
    assert abs(found.correlation[~inside][::7].mean()) < 0.15
    assert found.peak[inside].mean() > 3 * found.peak[~inside].mean()
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-5)
    section = activity_section(made, "fluorescence")
    assert section is not None and section.title.startswith("Activity")


def test_correlation_with_neighbours_is_that_of_the_pixels():
    values = np.random.default_rng(5).standard_normal((300, 30, 31)).cumsum(axis=1)
    found = activity(Recording.from_arrays({"fluorescence": values}, rate_hz=10), "fluorescence")
    from scipy.ndimage import uniform_filter

    local = np.stack([frame - uniform_filter(frame, 25) for frame in values.astype(np.float32)])
    flat = {place: local[:, place[0], place[1]] for place in ((0, 0), (0, 1), (1, 0), (1, 1))}
    others = [np.corrcoef(flat[0, 0], flat[place])[0, 1] for place in ((0, 1), (1, 0), (1, 1))]
    assert found.correlation[0, 0] == pytest.approx(np.mean(others), abs=1e-3)
