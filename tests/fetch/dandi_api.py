"""A server on this machine that answers as the DANDI archive's API and storage do."""

import hashlib
import json
import re
import urllib.parse
import uuid
from dataclasses import dataclass

from tests.fetch.allen_api import Fault, Server

DANDISET, VERSION = "000728", "0.240827.1809"


@dataclass(frozen=True)
class Stored:
    """An asset on the server."""

    id: str
    path: str
    size: int
    sha256: str | None
    zarr: str | None = None

    @property
    def blob(self) -> str:
        return f"/blobs/{self.id}"

    @property
    def download(self) -> str:
        return f"/api/assets/{self.id}/download/"

    @property
    def metadata(self) -> str:
        return f"/api/assets/{self.id}/"


class Dandi(Server):
    """Dandiset 000728 with one published version and a draft; pages are cut to `page` rows."""

    def __init__(self, page: int = 1000) -> None:
        super().__init__()
        self.page, self.published = page, VERSION
        self.versions = {VERSION: dict[str, Stored](), "draft": dict[str, Stored]()}

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    def add(self, path: str, body: bytes, *, draft: bool = False, stated: bool = True, zarr: bool = False) -> Stored:
        """Put an asset into the published version, or into the draft."""
        digest = hashlib.sha256(body).hexdigest()
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, path + digest))
        one = Stored(name, path, len(body), digest if stated else None, name if zarr else None)
        self.versions["draft" if draft else VERSION][path] = one
        self.files[one.blob] = body
        sums = {"dandi:dandi-etag": "0-1"} | ({"dandi:sha2-256": digest} if stated else {})
        self.files[one.metadata] = json.dumps({"path": path, "contentSize": len(body), "digest": sums}).encode()
        self.redirects[one.download] = f"{self.url}{one.blob}"
        return one

    def answer(self, path: str) -> bytes | None:
        """Return what the API answers to a query, or a file."""
        url = urllib.parse.urlsplit(path)
        if url.path == f"/api/dandisets/{DANDISET}/":
            published = {"version": self.published} if self.published else None
            reply = {"identifier": DANDISET, "most_recent_published_version": published, "draft_version": {}}
            return json.dumps(reply).encode()
        found = re.fullmatch(rf"/api/dandisets/{DANDISET}/versions/([^/]+)/assets/", url.path)
        if found is None or found[1] not in self.versions:
            return super().answer(path)
        return json.dumps(self._page(found[1], dict(urllib.parse.parse_qsl(url.query)))).encode()

    def fault(self, path: str) -> Fault:
        return super().fault(path.split("?")[0])

    def _page(self, version: str, query: dict[str, str]) -> dict:
        pattern = re.escape(query.get("glob", "*")).replace(r"\*", ".*")
        rows = [
            {"asset_id": one.id, "blob": one.id, "zarr": one.zarr, "path": one.path, "size": one.size}
            for path, one in sorted(self.versions[version].items())
            if re.fullmatch(pattern, path, re.IGNORECASE)
        ]
        size, number = min(int(query["page_size"]), self.page), int(query.get("page", 1))
        page = rows[(number - 1) * size : number * size]
        following = f"{self.api}/next" if number * size < len(rows) else None
        return {"count": len(rows) if number == 1 else None, "next": following, "previous": None, "results": page}

    def queries(self) -> list[str]:
        """Return every listing that was asked for."""
        return [path for path, _ in self.log if "/assets/?" in path]
