"""The catalogue and the sessions of the Allen Brain Observatory, from a server on this machine."""

import json
import logging
import time

import pytest

from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.fetch.allen import fetch_session, fetching
from neurodyn.fetch.catalogue import Selection, read_catalogue
from neurodyn.fetch.download import Link
from tests.fetch import allen_api
from tests.fetch.allen_api import Fault, download_path, mirror_path

A, B = 501940850, 501800164
LINK = Link(timeout=5, retries=1, pause=0.001)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    server = allen_api.observatory(tmp_path_factory.mktemp("sessions"), (A, B))
    server.close()
    return server.files


@pytest.fixture
def server(files, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = allen_api.Server()
    server.files = dict(files)
    yield server
    server.close()


@pytest.fixture
def catalogue(server, tmp_path):
    return read_catalogue(tmp_path / "cache", LINK, server.url, server.mirror)


def ids(catalogue, **conditions):
    return [one.id for one in Selection(**conditions).of(catalogue)]


def test_the_catalogue_says_what_each_experiment_is(catalogue):
    assert len(catalogue) == 10
    one = next(one for one in catalogue if one.id == A)
    assert (one.container, one.session_type, one.area, one.depth) == (511510688, "three_session_A", "VISp", 175)
    assert (one.cre_line, one.reporter_line, one.donor) == ("Cux2-CreERT2", "Ai93(TITL-GCaMP6f)", "222426")
    assert one.stimuli == ("drifting_gratings", "natural_movie_one", "natural_movie_three", "spontaneous")
    assert one.link == download_path(A) and not one.failed


def test_conditions_hold_together(catalogue):
    assert ids(catalogue, areas=("VISp",), depths=(275,)) == [502115959, 501794235, 500855614]
    assert ids(catalogue, areas=("VISp", "VISl"), stimuli=("drifting_gratings",)) == [502115959, A, 510514474]
    assert ids(catalogue, cre_lines=("Rorb-IRES2-Cre",), session_types=("B", "three_session_C2")) == [
        510345479,
        510174759,
    ]
    # the SDK takes the set difference here
    assert ids(catalogue, containers=(511510688,), experiments=(A, 510514474)) == [A]
    assert ids(catalogue, stimuli=("locally_sparse_noise_8deg",), containers=(511507650,)) == [500855614]


def test_failed_containers_are_left_out_unless_asked_for(catalogue):
    assert len(ids(catalogue)) == 9 and len(ids(catalogue, failed=True)) == 10
    with pytest.raises(DataError, match="--failed"):
        ids(catalogue, areas=("VISam",))
    assert ids(catalogue, areas=("VISam",), failed=True) == [700000002]


def test_what_is_nowhere_in_the_catalogue_is_named(catalogue):
    with pytest.raises(
        ConfigError, match="no area named 'VISP'(.|\n)*VISam, VISl, VISp(.|\n)*Did you mean 'VISp'"
    ) as caught:
        ids(catalogue, areas=("VISP",))
    assert caught.value.exit_code == 2
    with pytest.raises(ConfigError, match="no experiment named '7'"):
        ids(catalogue, experiments=(7,))
    with pytest.raises(DataError, match="meets all conditions"):
        ids(catalogue, areas=("VISl",), depths=(175,))


def test_the_catalogue_is_asked_for_once(server, catalogue, tmp_path):
    server.log.clear()
    again = read_catalogue(tmp_path / "cache", Link(offline=True), server.url, server.mirror)
    assert again == catalogue and server.log == []
    read_catalogue(tmp_path / "cache", LINK, server.url, server.mirror, refresh=True)
    assert len(server.asked("query")) == 1


@pytest.mark.parametrize("wrong", ["down", "refusal", "nonsense"])
def test_the_s3_copy_of_the_catalogue_stands_in(server, tmp_path, caplog, wrong):
    if wrong == "down":
        server.always["query"] = Fault(status=500)
    else:
        reply = {"success": False, "msg": "syntax error"} if wrong == "refusal" else [1]
        server.files["query"] = json.dumps(reply).encode()
    with caplog.at_level(logging.WARNING):
        assert len(read_catalogue(tmp_path / "cache", LINK, server.url, server.mirror)) == 10
    assert "S3 copy is asked instead" in caplog.text
    del server.files["/s3/ophys_experiments.json"]
    with pytest.raises(WorkError, match="404"):
        read_catalogue(tmp_path / "other", LINK, server.url, server.mirror)
    assert not (tmp_path / "other" / "ophys_experiments.json").exists()


def test_a_catalogue_of_another_form_is_refused_and_not_kept(server, tmp_path):
    server.files["query"] = json.dumps({"success": True, "msg": [{"id": 1}]}).encode()
    with pytest.raises(DataError, match="no form neurodyn knows"):
        read_catalogue(tmp_path / "cache", LINK, server.url, server.mirror)
    assert not (tmp_path / "cache" / "ophys_experiments.json").exists()


@pytest.fixture
def get(server, catalogue, tmp_path):
    """Return a function that fetches experiment A."""
    one = next(one for one in catalogue if one.id == A)
    server.log.clear()
    return lambda link=LINK: fetch_session(one, tmp_path / "files", link, server.url, server.mirror)


def test_a_session_is_fetched_once(server, get, tmp_path):
    path = get()
    assert path.read_bytes() == server.files[download_path(A)]
    server.log.clear()
    assert get(Link(offline=True)) == path and server.log == []
    assert [file.name for file in path.parent.iterdir()] == [f"{A}.nwb"]


def test_the_s3_copy_of_a_session_stands_in(server, get, caplog):
    server.always[download_path(A)] = Fault(status=503)
    with caplog.at_level(logging.WARNING):
        assert get().read_bytes() == server.files[mirror_path(A)]
    assert "S3 copy is asked instead" in caplog.text and len(server.asked(download_path(A))) == 2


@pytest.mark.parametrize("wrong", ["another session", "no HDF5", "cut", "lacks ΔF/F"])
def test_a_wrong_file_never_gets_the_name_of_a_session(server, get, tmp_path, wrong):
    body = server.files[download_path(A)]
    if wrong == "lacks ΔF/F":
        broken = tmp_path / "b.nwb"
        broken.write_bytes(body)
        import h5py

        with h5py.File(broken, "r+") as file:
            del file["processing/brain_observatory_pipeline/DfOverF"]
        body = broken.read_bytes()
    wrongs = {"another session": server.files[download_path(B)], "no HDF5": b"<html>" * 100, "cut": body[:-3000]}
    server.files[download_path(A)] = server.files[mirror_path(A)] = wrongs.get(wrong, body)
    with pytest.raises(DataError) as caught:
        get()
    assert caught.value.exit_code == 3
    assert list((tmp_path / "files").iterdir()) == []


def test_a_damaged_session_in_the_cache_is_fetched_again(server, get, caplog):
    path = get()
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING):
        assert get().read_bytes() == server.files[download_path(A)]
    assert "fetched again" in caplog.text


def test_offline_without_the_session_is_an_error(server, get):
    with pytest.raises(DataError, match="not in the cache(.|\n)*--offline"):
        get(Link(offline=True))
    assert server.log == []


def test_several_come_at_once_in_the_order_asked_and_one_failure_spares_the_others(server, catalogue, tmp_path):
    chosen = [one for one in catalogue if one.container == 511510688]
    server.always |= {download_path(one.id): Fault(delay=0.5) for one in chosen[:2]}
    told = []
    with fetching(
        chosen, tmp_path, LINK, api=server.url, mirror=server.mirror, jobs=3, tell=lambda *both: told.append(both)
    ) as fetched:
        outcomes = {one.id: outcome for one, outcome in fetched}
    assert list(outcomes) == [A, B, 502383036]
    assert outcomes[A].is_file() and outcomes[B].is_file()
    assert isinstance(outcomes[502383036], WorkError)  # the server has no such file
    assert told[-1] == ("2 of 3 sessions", pytest.approx(2 / 3))
    assert server.busiest > 1


def test_interrupting_ends_downloads_and_keeps_what_came(server, catalogue, tmp_path):
    chosen = [one for one in catalogue if one.id == A]
    link = Link(timeout=5, retries=5, pause=30)
    server.always[download_path(A)] = Fault(cut=10_000)
    with (
        pytest.raises(KeyboardInterrupt),
        fetching(chosen, tmp_path, link, api=server.url, mirror=server.mirror),
    ):
        part = tmp_path / f"{A}.nwb.part"
        while not part.exists() or part.stat().st_size < 10_000:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert [path.name for path in sorted(tmp_path.glob(f"{A}*"))] == [f"{A}.nwb.part", f"{A}.nwb.part.json"]
