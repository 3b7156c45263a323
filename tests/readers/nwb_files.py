"""NWB files as other programs write them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pynwb import NWBHDF5IO, NWBFile
from pynwb.ophys import ImageSegmentation, OpticalChannel


def session() -> tuple[NWBFile, Any]:
    """Return a file in memory, and its imaging plane."""
    nwbfile = NWBFile(
        session_description="a session", identifier="id-7", session_start_time=datetime(2020, 1, 2, tzinfo=UTC)
    )
    plane = nwbfile.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="green", description="green", emission_lambda=510.0),
        description="d",
        device=nwbfile.create_device("scope"),
        excitation_lambda=920.0,
        indicator="GCaMP7b",
        location="V1",
    )
    return nwbfile, plane


def put(nwbfile: NWBFile, path: Path) -> Path:
    """Write a file."""
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def rois_of(module: Any, plane: Any, count: int) -> Any:
    """Add a table of ROIs with two pixels each."""
    table = ImageSegmentation().create_plane_segmentation(name="cells", description="cells", imaging_plane=plane)
    for k in range(count):
        table.add_roi(pixel_mask=[(k, 2 * k, 1.0), (k, 2 * k + 1, 1.0)])
    table.add_column(name="depth", description="depth", data=np.arange(count) * 10.0)
    module.add(table.parent)
    return table
