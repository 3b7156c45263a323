"""The chain that suits a recording, where none is named."""

from __future__ import annotations

from neurodyn.calcium.indicators import known
from neurodyn.calcium.spike_network import SLOWEST
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording

NETWORK = "the spike network needs no kinetics and does better on data sets left out"
SLOW = "too slow for the spike network"


def default_chain(recording: Recording) -> tuple[str, str]:
    """Return the name of the chain that suits what a recording has, and why, in words.

    Spikes are by the network; below its slowest frame rate by OASIS where the indicator's kinetics are on record. Traces take the neuropil that lies
    beside them into account. A movie with a reference channel is widefield; one without may as well be a two-photon
    movie, and is not guessed.

    Raises
    ------
    DataError
        If nothing is left to do, or what it has can be told in two ways.
    """
    kinds = {name: recording[name].ndim for name in recording.variables}
    name = recording.indicator
    kinetics = f"the kinetics of {name} are on record" if known(name) else f"no kinetics are on record for '{name}'"
    if "dff" in kinds:
        return _after_dff(recording, kinds, kinetics)
    if "fluorescence" not in kinds:
        raise _unfit(recording, "It has no fluorescence and no dff.")
    if kinds["fluorescence"] == 3:
        return _of_movie(recording, kinds)
    if without_baseline(recording):
        raise _unfit(
            recording,
            "Its fluorescence is without its background, so that nothing is left to divide by.",
            "Take ΔF/F from the program that took it away (CaImAn: estimates.detrend_df_f, before saving).",
        )
    if recording["fluorescence"].attrs.get("made_by") == "one_photon":
        return (
            "one-photon",
            "fluorescence of ROIs less the one-photon light around them, which leaves no baseline to divide by",
        )
    if "corrected" in kinds:
        fix = "Take it for ΔF/F: --chain traces --set dff.input=corrected"
        raise _unfit(recording, "Its neuropil is subtracted already ('corrected').", fix)
    has = f"fluorescence of ROIs with{'' if 'neuropil' in kinds else 'out'} neuropil"
    if recording.rate_hz >= SLOWEST:
        return ("two-photon" if "neuropil" in kinds else "traces"), f"{has}; {NETWORK}"
    if "neuropil" not in kinds:
        return "traces-oasis", f"{has}, {SLOW}; {kinetics}"
    return ("two-photon-oasis" if known(name) else "traces-suite2p"), f"{has}, {SLOW}; {kinetics}"


def without_baseline(recording: Recording) -> bool:
    """Say whether the fluorescence is in an arbitrary unit, about a baseline that its program took away."""
    names = set(recording.variables)
    return "fluorescence" in names and "dff" not in names and recording["fluorescence"].attrs["units"] == "a.u."


def _of_movie(recording: Recording, kinds: dict[str, int]) -> tuple[str, str]:
    if kinds.get("reference") == 3:
        return "widefield", "a movie with a reference channel"
    raise DataError(
        f"It cannot be told how '{recording.session}' is to be preprocessed.",
        "It is a movie of one channel: widefield, or two-photon whose ROIs have to be found first.",
        "Widefield: --chain widefield-mean. Two-photon: neurodyn extract MOVIE -o rois.zarr",
    )


def _after_dff(recording: Recording, kinds: dict[str, int], kinetics: str) -> tuple[str, str]:
    made = {"spikes", "events"} & set(kinds)
    if kinds["dff"] == 3 or made:
        raise _unfit(recording, f"It has {', '.join(sorted({'dff', *made}))} already: neurodyn train MODEL RECORDING")
    if recording.rate_hz >= SLOWEST:
        return "spikes", f"ΔF/F of ROIs; {NETWORK}"
    return ("spikes-oasis" if known(recording.indicator) else "counts"), f"ΔF/F of ROIs, {SLOW}; {kinetics}"


def _unfit(recording: Recording, found: str, fix: str = "Name a chain: neurodyn list chains") -> DataError:
    return DataError(f"No chain suits '{recording.session}' by itself.", found, fix)
