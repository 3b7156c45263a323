"""Small NWB 2 files in the layouts of DANDI:000728 (Visual Coding) and DANDI:000711 (Visual Behavior)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.base import Images
from pynwb.behavior import BehavioralTimeSeries, CompassDirection, EyeTracking, PupilTracking, SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.image import GrayscaleImage, ImageSeries
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel, RoiResponseSeries

from neurodyn.readers.allen.session import epochs
from tests.readers.allen_files import PIPELINE, PLANE

GRATINGS = {
    "drifting_gratings": {
        "temporal_frequency": "temporal_frequency_in_hz",
        "orientation": "orientation_in_degrees",
        "blank_sweep": "is_blank_sweep",
    },
    "static_gratings": {
        "orientation": "orientation_in_degrees",
        "spatial_frequency": "spatial_frequency_in_cycles_per_degree",
        "phase": "phase",
    },
}
LASTS = {"drifting_gratings": 2.0, "static_gratings": 0.25}
SUBJECT = "496001353"


def coding_path(experiment: int, kind: str) -> str:
    """Return the path of a session's asset."""
    return f"sub-{SUBJECT}/sub-{SUBJECT}_ses-{experiment}-Stim{kind}_behavior+image+ophys.nwb"


def coding(v1: Path, out: Path, *, has_epochs: bool = True, demixed: bool = True, short: bool = True) -> Path:
    """Write a session of NWB 1 as NWB 2 in the layout of DANDI:000728, its faults included.

    Parameters
    ----------
    short
        Keep but three static gratings.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(v1, "r") as file:
        nwb = _nwbfile(file)
        time = file[f"{PIPELINE}/Fluorescence/{PLANE}/timestamps"][()]
        _ophys(nwb, file, time, demixed)
        _behavior(nwb, file, time)
        _stimuli(nwb, file, time, short)
        if has_epochs:
            _epochs(nwb, v1, time)
        with NWBHDF5IO(out, "w") as io:
            io.write(nwb)
        _indices(file, out, time)
    return out


def _text(file: h5py.File, name: str) -> str:
    return file[f"general/{name}"][()].decode()


def _nwbfile(file: h5py.File) -> NWBFile:
    kind = _text(file, "session_type")
    nwb = NWBFile(
        session_description="a session",
        identifier=_text(file, "session_id"),
        session_start_time=datetime(2016, 3, 10, 9, 12, 3, tzinfo=UTC),
        session_id=f"{_text(file, 'session_id')}-Stim{kind.split('_')[-1]}",
        notes=f"Container ID: {_text(file, 'experiment_container_id')}\nMouse ID (from genotype white paper): 222426\n"
        f"Session type: {kind}",
    )
    nwb.subject = Subject(
        subject_id=SUBJECT,
        species="Mus musculus",
        age="P103D",
        sex="M",
        genotype=_text(file, "subject/genotype"),
        strain=_text(file, "specimen_name"),
    )
    return nwb


def _plane(nwb: NWBFile, name: str, depth: str) -> Any:
    return nwb.create_imaging_plane(
        name=name,
        optical_channel=OpticalChannel(name="channel", description="green", emission_lambda=520.0),
        description=f"The imaging plane sampled by two-photon calcium imaging at a depth of {depth}.",
        device=nwb.create_device(name="Microscope"),
        excitation_lambda=910.0,
        indicator="GCaMP6f",
        location="VISp",
    )


def _ophys(nwb: NWBFile, file: h5py.File, time: np.ndarray, demixed: bool) -> None:
    source = file[PIPELINE]
    module = nwb.create_processing_module(name="ophys", description="ophys")
    plane = _plane(nwb, "ImagingPlane", _text(file, f"optophysiology/{PLANE}/imaging depth"))
    table = ImageSegmentation(name="ImageSegmentation").create_plane_segmentation(
        name="PlaneSegmentation", description="cells", imaging_plane=plane
    )
    table.add_column(name="global_roi_id", description="cell specimen")
    parts = source["ImageSegmentation"]
    for roi, cell, name in zip(parts["roi_ids"], parts["cell_specimen_ids"], parts[f"{PLANE}/roi_list"], strict=True):
        pixels = np.argwhere(parts[f"{PLANE}/{name.decode()}/img_mask"][()])
        table.add_roi(id=int(roi), global_roi_id=int(cell), pixel_mask=[(int(y), int(x), 1.0) for y, x in pixels])
    module.add(table.parent)
    picture = parts[f"{PLANE}/reference_images/maximum_intensity_projection_image/data"][()]
    module.add(Images(name="SummaryImages", images=[GrayscaleImage(name="maximum_intensity_projection", data=picture)]))
    rois = table.create_roi_table_region(region=list(range(len(table))), description="all")
    traces = source["Fluorescence"]

    def series(name: str, group: str, clock: Any) -> RoiResponseSeries:
        return RoiResponseSeries(name=name, data=source[group][()].T, timestamps=clock, unit="n.a.", rois=rois)

    for container in (fluorescence := Fluorescence(name="Fluorescence"), ratio := DfOverF(name="DfOverF")):
        module.add(container)
    corrected = series("Corrected", f"Fluorescence/{PLANE}/data", time)
    shown = [series("Neuropil", f"Fluorescence/{PLANE}_neuropil_response/data", corrected), corrected]
    shown += [series("Demixed", f"Fluorescence/{PLANE}_demixed_signal/data", corrected)] if demixed else []
    for one in shown:
        fluorescence.add_roi_response_series(one)
    dff = series("DfOverF", f"DfOverF/{PLANE}/data", corrected)
    events = RoiResponseSeries(
        name="DfOverFEvents", data=np.maximum(dff.data, 0), timestamps=corrected, unit="a.u.", rois=rois
    )
    for one in (dff, events):
        ratio.add_roi_response_series(one)
    ratios = VectorData(name="ratios", description="r", data=traces[f"{PLANE}_neuropil_response/r"][()])
    module.add(DynamicTable(name="ContaminationRatios", description="r", columns=[ratios]))


def _behavior(nwb: NWBFile, file: h5py.File, time: np.ndarray) -> None:
    source = file[PIPELINE]
    module = nwb.create_processing_module(name="behavior", description="behaviour")

    def series(kind: Any, place: str, unit: str) -> Any:
        group, name = source[place], place.split("/")[1]
        return kind(name=name, data=group["data"][()], timestamps=group["timestamps"][()], unit=unit)

    module.add(BehavioralTimeSeries(time_series=series(TimeSeries, "BehavioralTimeSeries/running_speed", "cm/s")))
    if "EyeTracking" in source:
        module.add(EyeTracking(spatial_series=series(SpatialSeries, "EyeTracking/pupil_location", "m")))
        angle = series(SpatialSeries, "EyeTracking/pupil_location_spherical", "degrees")
        module.add(CompassDirection(spatial_series=angle))
        module.add(PupilTracking(time_series=series(TimeSeries, "PupilTracking/pupil_size", "px")))


def _stimuli(nwb: NWBFile, file: h5py.File, time: np.ndarray, short: bool) -> None:
    for key, group in file["stimulus/presentation"].items():
        name = key.removesuffix("_stimulus")
        frames = group["frame_duration"][()]
        if name == "spontaneous":
            nwb.add_stimulus(_intervals(key, time[frames[::2, 0]], time[frames[1::2, 0]], {}))
        elif name in GRATINGS:
            names = dict(zip([text.decode() for text in group["features"][()]], group["data"][()].T, strict=True))
            kept = slice(3 if short and name == "static_gratings" else None)
            columns = {GRATINGS[name][feature]: values[kept] for feature, values in names.items()}
            blank = np.isnan(columns["orientation_in_degrees"])
            extra = {"spatial_frequency_in_cycles_per_degree": np.full(blank.size, 0.04)}
            columns = extra | columns | {"is_blank_sweep": blank}
            start = time[frames[kept, 0]]
            nwb.add_stimulus(_intervals(name, start, start + LASTS[name], columns))
        else:
            _pictures(nwb, file, name)


def _intervals(name: str, start: np.ndarray, stop: np.ndarray, columns: dict[str, Any]) -> TimeIntervals:
    table = TimeIntervals(name=name, description="shown")
    for column in columns:
        table.add_column(name=column, description=column)
    for k, (begin, end) in enumerate(zip(start, stop, strict=True)):
        row = {column: values[k].item() for column, values in columns.items()}
        table.add_interval(start_time=float(begin), stop_time=float(end), **row)
    return table


def _pictures(nwb: NWBFile, file: h5py.File, name: str) -> None:
    stack = file.get(f"stimulus/templates/{name}_image_stack/data", np.zeros((12, 6, 7), np.uint8))[()]
    if name.startswith("natural_movie"):
        nwb.add_stimulus_template(ImageSeries(name=name, data=stack, unit="n.a.", starting_time=np.nan, rate=np.nan))
    else:
        each = [GrayscaleImage(name=f"Picture{k}", data=picture) for k, picture in enumerate(stack)]
        nwb.add_stimulus_template(Images(name=f"{name}_template", images=each))


def _indices(file: h5py.File, out: Path, time: np.ndarray) -> None:
    """Write which picture was shown when; pynwb reads such series of movies but writes them no more."""
    with h5py.File(out, "r+") as written:
        for key, source in file["stimulus/presentation"].items():
            name = key.removesuffix("_stimulus")
            if name not in GRATINGS and name != "spontaneous":
                group = written.create_group(f"stimulus/presentation/{key}")
                group.attrs.update({"neurodata_type": "IndexSeries", "namespace": "core", "object_id": key})
                group["data"] = source["data"][()].astype(np.int64).astype(np.uint32)  # -1, a blank, becomes 4294967295
                group["timestamps"] = time[source["frame_duration"][:, 0]]
                movie = name.startswith("natural_movie")
                place = f"/stimulus/templates/{name if movie else f'{name}_template'}"
                group["indexed_timeseries" if movie else "indexed_images"] = h5py.SoftLink(place)


def _epochs(nwb: NWBFile, v1: Path, time: np.ndarray) -> None:
    from neurodyn.readers.allen.nwb1 import stimulus_tables

    with h5py.File(v1, "r") as file:
        found = epochs(stimulus_tables(v1, file), time)
    nwb.epochs = TimeIntervals(name="epochs", description="blocks")
    nwb.epochs.add_column(name="stimulus_type", description="what")
    for stimulus, start, stop in zip(found["stimulus"], found["start"], found["stop"], strict=True):
        nwb.epochs.add_interval(start_time=float(start), stop_time=float(stop), stimulus_type=str(stimulus))


IMAGES = "Natural_Images_Lum_Matched_set_ophys_6_2017.07.14"
FRAMES, CELLS, RATE = 900, 4, 11.0


def behavior(out: Path, *, seed: int = 0, some_events: bool = False, passive: bool = False) -> dict[str, Any]:
    """Write a session in the layout of DANDI:000711; return the arrays that are in it.

    Parameters
    ----------
    some_events
        Events of all cells but the first.
    passive
        Neither licks nor rewards.
    """
    rng = np.random.default_rng(seed)
    time = 7.0 + np.arange(FRAMES) / RATE
    made: dict[str, Any] = {"time": time, "masks": np.zeros((CELLS, 20, 30), bool)}
    for k in range(CELLS):
        made["masks"][k, 3 * k : 3 * k + 2, 5:9] = True
    made |= {name: rng.normal(size=(FRAMES, CELLS)) for name in ("dff", "corrected")}
    made["spikes"] = np.maximum(rng.normal(size=(FRAMES, CELLS)), 0).astype(np.float32)
    nwb = NWBFile(
        session_description="a session",
        identifier="880961028",
        session_start_time=datetime(2019, 5, 2, tzinfo=UTC),
        session_id="880961028",
    )
    nwb.subject = Subject(
        subject_id="435431",
        species="Mus musculus",
        age="P180D",
        sex="F",
        genotype="Vip-IRES-Cre/wt;Ai148(TIT2L-GC6f-ICL-tTA2)/wt",
    )
    rois = _behavior_cells(nwb, made)
    _behavior_traces(nwb, made, rois)
    _behavior_courses(nwb, made, rng, passive)
    _behavior_shown(nwb, made, rng)
    out.parent.mkdir(parents=True, exist_ok=True)
    with NWBHDF5IO(out, "w") as io:
        io.write(nwb)
    _extensions(out, made, some_events)
    return made


def _behavior_cells(nwb: NWBFile, made: dict[str, Any]) -> DynamicTableRegion:
    module = nwb.create_processing_module(name="ophys", description="ophys")
    table = ImageSegmentation(name="image_segmentation").create_plane_segmentation(
        name="cell_specimen_table", description="cells", imaging_plane=_plane(nwb, "imaging_plane_1", "371 um")
    )
    for name in ("cell_specimen_id", "valid_roi", "x"):
        table.add_column(name=name, description=name)
    made["cells"] = np.array([1086559968, 1086560061, -1, 1086560192])
    made["valid"] = np.array([True, True, False, True])
    for k, mask in enumerate(made["masks"]):
        table.add_roi(
            id=1080740882 + k,
            image_mask=mask,
            cell_specimen_id=int(made["cells"][k]),
            valid_roi=bool(made["valid"][k]),
            x=5,
        )
    module.add(table.parent)
    made["max_projection"] = np.arange(600.0).reshape(20, 30)
    module.add(Images(name="images", images=[GrayscaleImage(name="max_projection", data=made["max_projection"])]))
    return table.create_roi_table_region(region=list(range(CELLS)), description="all")


def _behavior_traces(nwb: NWBFile, made: dict[str, Any], rois: DynamicTableRegion) -> None:
    module = nwb.processing["ophys"]
    dff, corrected = DfOverF(name="dff"), Fluorescence(name="corrected_fluorescence")
    module.add(dff)
    module.add(corrected)
    kept = {"name": "traces", "unit": "NA", "rois": rois}
    first = dff.create_roi_response_series(data=made["dff"], timestamps=made["time"], **kept)
    corrected.create_roi_response_series(data=made["corrected"], timestamps=first, **kept)
    made["motion"] = np.stack([np.arange(FRAMES) % 5, np.arange(FRAMES) % 3], axis=1).astype(float)
    for axis, values in zip("yx", made["motion"].T, strict=True):
        name = f"ophys_motion_correction_{axis}"
        module.add(TimeSeries(name=name, data=values, timestamps=made["time"], unit="pixels"))


def _behavior_courses(nwb: NWBFile, made: dict[str, Any], rng: np.random.Generator, passive: bool) -> None:
    def put(module: str, name: str, times: np.ndarray, values: np.ndarray, unit: str) -> None:
        if module not in nwb.processing:
            nwb.create_processing_module(name=module, description=module)
        nwb.processing[module].add(TimeSeries(name=name, data=values, timestamps=times, unit=unit))
        made[name] = (times, values)

    display = 5.0 + np.arange(5000) / 60
    put("running", "speed", display, rng.normal(10, 3, 5000), "cm/s")
    if not passive:
        licks = np.array([12, 40, 41, 900])
        put("licking", "licks", display[licks], licks, "N/A")
        put("rewards", "volume", display[[41, 900]], np.array([0.007, 0.005]), "mL")
        put("rewards", "autorewarded", display[[41, 900]], np.array([False, True]), "mL")


def _behavior_shown(nwb: NWBFile, made: dict[str, Any], rng: np.random.Generator) -> None:
    count, period = 60, 0.75
    start = 10.013 + period * np.arange(count)
    omitted = np.arange(count) % 13 == 5
    image = np.where(omitted, "omitted", rng.choice(["im000", "im106", "im075"], count))
    made["shown"] = {
        "image_name": image,
        "image_index": rng.integers(0, 9, count),
        "is_change": rng.random(count) < 0.2,
        "omitted": omitted,
        "start_frame": np.arange(count) * 45,
        "end_frame": np.where(omitted, np.nan, np.arange(count) * 45 + 15),
        "stimulus_name": np.full(count, IMAGES),
        "orientation_name": np.where(omitted, "N/A", "x"),
        "stimulus_block": np.ones(count, dtype=np.int64),
    }
    made["start"], made["stop"] = start, np.where(omitted, np.nan, start + 0.25)
    nwb.add_time_intervals(_intervals(f"{IMAGES}_presentations", start, made["stop"], made["shown"]))
    movie = start[-1] + 5 + np.arange(30) / 30
    columns = {"movie_frame_index": np.tile(np.arange(10), 3), "movie_repeat": np.repeat(np.arange(3), 10)}
    nwb.add_time_intervals(_intervals("natural_movie_one_presentations", movie, movie + 1 / 30, columns))
    made["movie"] = (movie, columns)
    for name in ("go", "hit"):
        nwb.add_trial_column(name=name, description=name)
    nwb.add_trial_column(name="lick_times", description="s", index=True)
    for k in range(4):
        row = {"go": k % 2 == 0, "hit": k == 0, "lick_times": [float(start[k])] * k}
        nwb.add_trial(start_time=float(start[9 * k]), stop_time=float(start[9 * k + 8]), **row)


def _extensions(out: Path, made: dict[str, Any], some_events: bool) -> None:
    """Write the parts whose types are the Institute's own."""
    said = {
        "ophys_experiment_id": 880961028,
        "ophys_container_id": 930022332,
        "ophys_session_id": 880784794,
        "behavior_session_id": 880920044,
        "session_type": "OPHYS_6_images_B",
        "imaging_depth": 371,
    }
    eye = 6.0 + np.arange(1200) / 30
    made["eye"] = {"data": np.stack([eye, -eye], axis=1), "area": eye**2, "width": eye + 1, "height": eye + 2}
    made["eye_time"] = eye
    rows = np.arange(1 if some_events else 0, CELLS)
    with h5py.File(out, "r+") as file:
        file.create_group("general/metadata").attrs.update(said)
        lines = np.array(["Vip-IRES-Cre"], dtype=h5py.string_dtype())
        file["general/subject"].attrs.update({"driver_line": lines, "reporter_line": lines})
        events = file.create_group("processing/ophys/event_detection")
        events["data"], events["rois"] = made["spikes"][:, rows], rows
        events["timestamps"] = file["processing/ophys/dff/traces/timestamps"]
        pupil = file.create_group("acquisition/EyeTracking/pupil_tracking")
        for name, values in {**made["eye"], "timestamps": eye}.items():
            pupil[name] = values
        blink = file.create_group("acquisition/EyeTracking/likely_blink")
        blink["data"], blink["timestamps"] = eye % 1 < 0.1, pupil["timestamps"]
