"""A server on this machine that answers as the Allen Brain Observatory's API and S3 copy do, faults included."""

import base64
import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.readers import allen_files

CONTAINERS = {
    511510688: ("VISp", 175, "Cux2-CreERT2", {"A": 501940850, "B": 501800164, "C": 502383036}),
    511507650: ("VISp", 275, "Cux2-CreERT2", {"A": 502115959, "B": 501794235, "C2": 500855614}),
    511510718: ("VISl", 275, "Rorb-IRES2-Cre", {"A": 510514474, "B": 510345479, "C2": 510174759}),
    700000001: ("VISam", 350, "Rorb-IRES2-Cre", {"A": 700000002}),
}
FAILED = 700000001


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer."""

    status: int = 200
    cut: int | None = None
    delay: float = 0.0
    extra: int = 0  # bytes promised beyond those there are
    digest: str | None = None
    stated: bool = True  # whether the length is
    ranges: bool = True


class Server:
    """Files by their paths, answers with faults, and a log of what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.log: list[tuple[str, str | None]] = []
        self.busy = self.busiest = 0
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.daemon_threads = True
        vars(self._http)["server"] = self
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def mirror(self) -> str:
        return f"{self.url}/s3"

    def asked(self, path: str) -> list[str | None]:
        """Return the range of every request for a path."""
        return [ranged for found, ranged in self.log if found == path]

    def answer(self, path: str) -> bytes | None:
        """Return what is answered to a path as it was asked; None where there is nothing."""
        path = urllib.parse.unquote(path)
        return self.files.get(_query(path) if path.startswith("/api/v2/data/query.json") else path)

    def fault(self, path: str) -> Fault:
        if path in self.always:
            return self.always[path]
        return self.faults[path].pop(0) if self.faults[path] else Fault()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server: Server = vars(self.server)["server"]
        path = urllib.parse.unquote(self.path)
        path = _query(path) if path.startswith("/api/v2/data/query.json") else path
        server.log.append((path, self.headers.get("Range")))
        fault = server.fault(path)
        server.busy += 1
        server.busiest = max(server.busiest, server.busy)
        time.sleep(fault.delay)
        server.busy -= 1
        body = server.answer(self.path)
        if fault.status == 200 and path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[path])
        elif fault.status == 200 and body is not None:
            self._answer(body, fault)
            return
        else:
            self.send_response(fault.status if fault.status != 200 else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, body: bytes, fault: Fault) -> None:
        whole = hashlib.sha256(body)
        tag = f'"{whole.hexdigest()[:20]}"'
        wanted, same = self.headers.get("Range"), self.headers.get("If-Range") in (None, tag)
        ranged = wanted if same and fault.ranges else None
        begin, _, end = (ranged or "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(begin), min(int(end or len(body)), len(body) - 1)
        if first and first >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if ranged else 200)
        self.send_header("ETag", tag)
        if ranged:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        body = body[first : last + 1]
        if fault.stated:
            self.send_header("Content-Length", str(len(body) + fault.extra))
        if fault.digest is not None:
            digest = {"right": whole, "wrong": hashlib.sha256(b"")}[fault.digest].digest()
            self.send_header("Repr-Digest", f"sha-256=:{base64.b64encode(digest).decode()}:")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if fault.cut is None else body[: fault.cut])
        self.close_connection = True


def _query(path: str) -> str:
    """Return a short name for a query: of the catalogue, of one experiment's file, or of other files."""
    if "model::OphysExperiment" in path:
        return "query"
    one = re.search(r"attachable_id\$eq(\d+)", path)
    return f"file of {one[1]}" if one else "files"


def rows() -> list[dict]:
    """Return the catalogue as the API gives it."""
    found = []
    for container, (area, depth, cre, sessions) in CONTAINERS.items():
        lines = [("Camk2a-tTA", "driver"), (cre, "driver"), ("Ai93(TITL-GCaMP6f)", "reporter")]
        donor = {
            "external_donor_name": "222426",
            "date_of_birth": "2015-11-28T00:00:00Z",
            "age": {"days": 103},
            "conditions": [],
            "transgenic_lines": [{"name": name, "transgenic_line_type_name": kind} for name, kind in lines],
        }
        for kind, experiment in sessions.items():
            link = {"download_link": download_path(experiment), "well_known_file_type": {"name": "NWBOphys"}}
            found.append(
                {
                    "id": experiment,
                    "imaging_depth": depth,
                    "targeted_structure": {"acronym": area},
                    "specimen": {"name": f"{cre};Camk2a-tTA;Ai93-222426", "donor": donor},
                    "date_of_acquisition": "2016-03-10T00:00:00Z",
                    "fail_eye_tracking": False,
                    "experiment_container_id": container,
                    "experiment_container": {"id": container, "failed": container == FAILED},
                    "stimulus_name": f"three_session_{kind}",
                    "well_known_files": [link | {"well_known_file_type": {"name": "Other"}}, link],
                }
            )
    return found


def download_path(experiment: int) -> str:
    return f"/api/v2/well_known_file_download/{experiment}"


def mirror_path(experiment: int) -> str:
    return f"/s3/ophys_experiment_data/{experiment}.nwb"


def observatory(folder: Path, experiments: tuple[int, ...] = (), trials: int = 3) -> Server:
    """Start a server with the catalogue and the files of some experiments, on API and S3 copy."""
    server = Server()
    reply = {"success": True, "msg": rows(), "num_rows": len(rows())}
    server.files |= {"query": json.dumps(reply).encode(), "/s3/ophys_experiments.json": json.dumps(rows()).encode()}
    kinds = {one: (kind, container) for container, (*_, all_) in CONTAINERS.items() for kind, one in all_.items()}
    for experiment in experiments:
        kind, container = kinds[experiment]
        path = folder / f"{experiment}.nwb"
        allen_files.session(path, kind, trials=trials, experiment=experiment, container=container, seed=experiment)
        server.files |= dict.fromkeys((download_path(experiment), mirror_path(experiment)), path.read_bytes())
    return server
