"""Every kind of file that a user's own ROIs may come in, and what is refused of them."""

import json

import numpy as np
import pytest
import tifffile
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.roi_files import read_masks
from neurodyn.preprocess.suite2p import extract

FRAME = (48, 64)
SQUARES = [np.argwhere(np.ones((4, 5))) + corner for corner in ([3, 4], [20, 40], [43, 59])]


def labels(dtype=np.uint16, value=None):
    image = np.zeros(FRAME, dtype)
    for number, pixels in enumerate(SQUARES, start=1):
        image[tuple(pixels.T)] = value or number
    return image


def outline(pixels):
    """The corners of a square's outline as ImageJ counts them: (x, y) from the corner of pixel (0, 0)."""
    (top, left), (bottom, right) = pixels.min(axis=0), pixels.max(axis=0) + 1
    return ImagejRoi.frompoints([[left, top], [right, top], [right, bottom], [left, bottom]])


def written(folder, kind):
    path = folder / f"rois{kind}"
    if kind == ".tif":
        tifffile.imwrite(path, labels())
    elif kind == ".npy":
        np.save(path, labels(np.uint8, value=255))
    elif kind == ".zip":
        roiwrite(path, [outline(pixels) for pixels in SQUARES])
    else:
        path.write_text(json.dumps([{"coordinates": pixels.tolist()} for pixels in SQUARES]))
    return path


@pytest.mark.parametrize("kind", [".tif", ".npy", ".zip", ".json"])
def test_every_kind_gives_the_pixels_that_were_marked(tmp_path, kind):
    masks = read_masks(written(tmp_path, kind), FRAME)
    assert len(masks) == 3
    for mask, pixels in zip(masks, SQUARES, strict=True):
        assert set(map(tuple, mask.tolist())) == set(map(tuple, pixels.tolist()))


def test_a_stack_of_masks_may_overlap_and_centres_are_discs(tmp_path):
    planes = np.zeros((2, *FRAME), bool)
    planes[0, 5:10, 5:10] = planes[1, 8:12, 8:12] = True
    np.save(tmp_path / "stack.npy", planes)
    assert [len(mask) for mask in read_masks(tmp_path / "stack.npy", FRAME)] == [25, 16]
    (tmp_path / "centres.csv").write_text("y,x,radius\n10,12,3\n0,0,3\n")
    disc, corner = read_masks(tmp_path / "centres.csv", FRAME)
    assert disc.mean(axis=0).tolist() == [10, 12]
    assert len(disc) == pytest.approx(np.pi * 9, abs=4)
    assert len(corner) < len(disc) / 2
    (tmp_path / "plain.csv").write_text("y,x\n10,12\n")
    assert len(read_masks(tmp_path / "plain.csv", FRAME, 6.0)[0]) == len(disc)
    with pytest.raises(ConfigError, match="how large"):
        read_masks(tmp_path / "plain.csv", FRAME)


def refused(folder, case):
    if case == "absent":
        return folder / "absent.tif"
    if case == "kind":
        (folder / "rois.doc").write_text("")
        return folder / "rois.doc"
    if case == "json":
        (folder / "rois.json").write_text(json.dumps([{"coordinates": [[3, 4], [47, 64]]}]))
        return folder / "rois.json"
    if case == "shape":
        np.save(folder / "rois.npy", labels()[:, :60])
    elif case == "empty":
        np.save(folder / "rois.npy", labels() * 0)
    elif case == "plane":
        np.save(folder / "rois.npy", np.stack([labels() > 0, labels() > 9]))
    elif case in ("polygon", "point"):
        corners = SQUARES[2] + [0, 3] if case == "polygon" else SQUARES[0]
        roi = outline(corners) if case == "polygon" else ImagejRoi.frompoints([[3, 4]])
        roi.roitype = ROI_TYPE.POLYGON if case == "polygon" else ROI_TYPE.POINT
        roi.tofile(folder / "one.roi")
        return folder / "one.roi"
    elif case == "broken":
        (folder / "rois.zip").write_bytes(b"PK no zip")
        return folder / "rois.zip"
    elif case == "centre":
        (folder / "rois.csv").write_text("y,x,radius\n10,12,3\n48,3,3\n")
        return folder / "rois.csv"
    return folder / "rois.npy"


CASES = {"absent": "no file", "kind": "no file of ROIs", "json": "outside", "shape": "no mask of this movie"}
CASES |= {"empty": "no ROI", "plane": "ROI 2 .* is empty", "polygon": "ROI 1 .* outside", "point": "no area"}
CASES |= {"broken": "cannot be read", "centre": "ROI 2 .* outside"}


@pytest.mark.parametrize("case", CASES)
def test_what_lies_outside_or_is_empty_is_refused_by_its_number(tmp_path, case):
    with pytest.raises(DataError, match=CASES[case]) as error:
        read_masks(refused(tmp_path, case), FRAME)
    assert error.value.exit_code == 3
    assert error.value.found and error.value.fix


def test_traces_of_given_rois_are_those_of_their_pixels(tmp_path):
    rng = np.random.default_rng(0)
    movie = rng.normal(1000, 10, (60, *FRAME))
    for cell, pixels in enumerate(SQUARES):
        movie[:, pixels[:, 0], pixels[:, 1]] += 100 * (1 + np.sin(np.arange(60)[:, None] / (cell + 2)))
    source = Recording.from_arrays({"fluorescence": np.rint(movie).astype(np.int16)}, rate_hz=10)
    settings = {"rois": str(written(tmp_path, ".zip")), "run": {"do_registration": 0}}
    made = Recording.open(extract(source, tmp_path / "rois.zarr", settings=settings))
    expected = np.stack([np.rint(movie)[:, p[:, 0], p[:, 1]].mean(axis=1) for p in SQUARES], axis=1)
    np.testing.assert_allclose(made["fluorescence"].values, expected, rtol=1e-5)
    assert set(made.table("rois")["found_by"].values) == {"given"}
    assert made.history[-1]["params"]["rois"] == "rois.zip"
    nested = np.zeros((2, *FRAME), bool)
    nested[0, 5:20, 5:20] = nested[1, 8:12, 8:12] = True
    np.save(tmp_path / "nested.npy", nested)
    with pytest.raises(DataError, match="ROI 2 lies wholly within others"):
        extract(source, tmp_path / "nested.zarr", settings=settings | {"rois": str(tmp_path / "nested.npy")})
    assert not (tmp_path / "nested.zarr").exists()
