"""`neurodyn curate`: dropped cells are gone, merged ones are as if they had been one."""

import json

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.view.cells import names_of_cells
from tests.cli.conftest import neurodyn as neurodyn
from tests.view.recordings import SIDE, masks, movie, saved, session


def log(folder, *rows):
    path = folder / "cells.csv"
    path.write_text("action,cell,into\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_dropped_cells_are_gone_and_the_rest_is_as_it_was(tmp_path, neurodyn):
    source, before = saved(tmp_path), session()
    done = neurodyn("curate", source, log(tmp_path, "drop,a1,", "keep,a2,", "drop,a4,"), "-o", tmp_path / "out.zarr")
    assert done.code == 0, done.err
    assert "4 of 6 cells stay" in done.err
    found = Recording.open(tmp_path / "out.zarr")
    assert names_of_cells(found) == ["a0", "a2", "a3", "a5"]
    for name in ("fluorescence", "neuropil", "dff"):
        np.testing.assert_array_equal(found[name].values, before[name].values[:, [0, 2, 3, 5]])
    assert found["raw"].shape == movie().shape
    assert [each["step"] for each in found.history] == ["curate"] and found.history[-1]["params"]["dropped"] == [
        "a1",
        "a4",
    ]
    again = neurodyn("curate", source, tmp_path / "cells.csv", "-o", tmp_path / "out.zarr")
    assert again.code == 0 and "up to date" in again.err


def test_merged_cells_have_the_mean_over_their_pixels(tmp_path, neurodyn):
    """The right values are made from the movie: what masks that are joined would have measured in it."""
    frames, told = movie(), masks()
    places = {name: values for name, (_, values) in told.items()}
    measured = np.stack(
        [
            np.einsum("tp,p->t", frames[:, places["mask_y"][mine], places["mask_x"][mine]], places["mask_weight"][mine])
            for mine in (places["mask_roi"] == row for row in range(6))
        ],
        axis=1,
    )
    source = saved(tmp_path, more={"fluorescence": measured.astype(np.float32)})
    rows = log(tmp_path, "merge,a5,a4", "drop,a0,")
    assert neurodyn("curate", source, rows, "-o", tmp_path / "out.zarr").code == 0
    found = Recording.open(tmp_path / "out.zarr")
    assert names_of_cells(found) == ["a1", "a2", "a3", "a4"]
    table = found.table("rois")
    mine = table["mask_roi"].values == 3
    y, x, weight = (table[name].values[mine] for name in ("mask_y", "mask_x", "mask_weight"))
    assert len(set(zip(y, x, strict=True))) == y.size == 2 * SIDE**2 - 2 * SIDE == table["npix"].values[3]
    np.testing.assert_allclose(weight.sum(), 1)
    np.testing.assert_allclose(found["fluorescence"].values[:, 3], frames[:, y, x] @ weight, rtol=1e-5)
    np.testing.assert_array_equal(found["fluorescence"].values[:, 0], measured.astype(np.float32)[:, 1])
    np.testing.assert_allclose(table["x"].values, [22, 36, 6, 23.5])
    np.testing.assert_array_equal(table["skew"].values, [5, 4, 3, np.nan])
    assert found.history[-1]["params"]["merged"] == {"a4": ["a4", "a5"]}


def test_what_is_made_of_fluorescence_is_left_out_after_a_merge(tmp_path, neurodyn):
    source = saved(tmp_path)
    done = neurodyn("curate", source, log(tmp_path, "merge,a5,a4"), "-o", tmp_path / "out.zarr")
    assert "Left out" in done.err and "dff" in done.err
    assert set(Recording.open(tmp_path / "out.zarr").variables) == {"fluorescence", "neuropil", "raw"}


def test_cells_without_ids_keep_the_row_they_had(tmp_path, neurodyn):
    source = saved(tmp_path, ids=False)
    assert neurodyn("curate", source, log(tmp_path, "drop,0,", "drop,3,"), "-o", tmp_path / "out.zarr").code == 0
    assert names_of_cells(Recording.open(tmp_path / "out.zarr")) == ["1", "2", "4", "5"]
    done = neurodyn("curate", tmp_path / "out.zarr", tmp_path / "cells.csv", "-o", tmp_path / "twice.zarr")
    assert done.code == 3 and "names cell '0'" in done.err


def test_the_undecided_may_go(tmp_path, neurodyn):
    rows = log(tmp_path, "keep,a2,", "merge,a3,a2", "drop,a4,")
    told = neurodyn("curate", saved(tmp_path), rows, "-o", tmp_path / "out.zarr", "--undecided", "drop", "--json", "-n")
    assert json.loads(told.out)["cells"] == 1 and not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["drop,a9,"], "names cell 'a9'"),
        ([f"drop,a{k}," for k in range(6)], "No cell would be left"),
        (["x,a1,"], "no action"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, neurodyn, rows, said):
    done = neurodyn("curate", saved(tmp_path), log(tmp_path, *rows), "-o", tmp_path / "out.zarr")
    assert done.code == 3 and said in done.err
    assert not (tmp_path / "out.zarr").exists()


def test_what_is_missing_is_told(tmp_path, neurodyn):
    source = saved(tmp_path)
    done = neurodyn("curate", source, tmp_path / "none.csv", "-o", tmp_path / "out.zarr")
    assert done.code == 3 and "does not exist" in done.err
    assert neurodyn("curate", source, log(tmp_path, "drop,a1,"), "-o", source).code == 2
    only = Recording.from_arrays({"dff": np.ones((50, 3))}, rate_hz=10).save(tmp_path / "only.zarr")
    done = neurodyn("curate", only, log(tmp_path, "merge,1,0"), "-o", tmp_path / "out.zarr")
    assert done.code == 3 and "without their fluorescence" in done.err
