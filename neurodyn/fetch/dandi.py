"""The DANDI archive: what is in a dandiset, and its files, fetched or streamed.

Two endpoints of its REST API are all it takes: a listing in pages, and an asset with its checksum and its download. So
there is no need of DANDI's own client and all that it brings. The API's form was read in the archive's source; the
archive itself was out of reach while this was written.
"""

from __future__ import annotations

import hashlib
import logging
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import read_json, sha256, write_json
from neurodyn.fetch.download import Link, Report
from neurodyn.fetch.remote import Place, Remote

LOGGER = logging.getLogger(__name__)
API = "https://api.dandiarchive.org/api"
PAGE = 1000  # the API's most
DRAFT = "draft"
CHUNKS = 64 * 2**20  # bytes of unpacked chunks kept of each array; the archive's chunks are of 10 MB


@dataclass(frozen=True)
class Asset:
    """A file of a dandiset.

    Parameters
    ----------
    dandiset, version
        What it was listed in: 000728, 0.240827.1809.
    id
        The archive's own name of it; another content has another one.
    path
        Where it lies in the dandiset.
    size
        Bytes.
    is_zarr
        Whether it is a folder of its own, not a file.
    """

    dandiset: str
    version: str
    id: str
    path: str
    size: int
    is_zarr: bool

    @property
    def subject(self) -> str:
        """Name of the subject in the path."""
        return self._entity("sub")

    @property
    def session(self) -> str:
        """Name of the session in the path."""
        return self._entity("ses")

    @property
    def source(self) -> dict[str, str]:
        """What a recording says of where it came from."""
        return {
            "source": f"DANDI:{self.dandiset}/{self.version}/{self.path}",
            "dandiset": f"DANDI:{self.dandiset}",
            "dandiset_version": self.version,
            "asset_path": self.path,
            "asset_id": self.id,
        }

    def _entity(self, key: str) -> str:
        found = re.search(rf"(?:^|_){key}-([^_.]+)", PurePosixPath(self.path).name)
        return found[1] if found else ""


class Selection(Params):
    """Which assets are wanted: those that meet every condition."""

    path: str | None = Field(default=None, description="pattern of the whole path; * stands for anything")
    subjects: tuple[str, ...] = Field(default=(), description="names of subjects")
    sessions: tuple[str, ...] = Field(
        default=(), description="names of sessions, or what they begin with, up to a dash"
    )

    @property
    def pattern(self) -> str:
        """The one pattern that the API is asked for."""
        if self.path is not None:
            return self.path
        if len(self.sessions) == 1:
            return f"*ses-{self.sessions[0]}*"
        return f"*sub-{self.subjects[0]}*" if len(self.subjects) == 1 else "*"

    def of(self, assets: list[Asset]) -> list[Asset]:
        """Return the wanted ones, by path.

        Raises
        ------
        DataError
            If there are none.
        """
        pattern = re.compile(re.escape(self.path or "*").replace(r"\*", ".*"), re.IGNORECASE)
        found = [
            one
            for one in assets
            if pattern.fullmatch(one.path)
            and (not self.subjects or one.subject in self.subjects)
            and (not self.sessions or {one.session, one.session.split("-")[0]} & set(self.sessions))
        ]
        if not found:
            raise DataError(
                "No asset meets all conditions.",
                f"Of {self.pattern} the dandiset has {len(assets)}.",
                "List what there is: neurodyn fetch dandi ID --list",
            )
        return sorted(found, key=lambda one: one.path)


@dataclass(frozen=True)
class Archive:
    """The archive, and what is known of it in a cache.

    Parameters
    ----------
    link
        How to ask for things.
    cache
        Folder that keeps answers: those on published versions and on assets, which do not change, for good; others for
        when the link is offline.
    api
        Address of the API.
    """

    link: Link
    cache: Path
    api: str = API

    def version(self, dandiset: str) -> str:
        """Return a dandiset's most recent published version; "draft" where nothing was published.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the answer has no form neurodyn knows, or must be asked for and the link is offline.
        """

        def read(reply: Any) -> str:
            published = reply["most_recent_published_version"]
            return DRAFT if published is None else str(published["version"])

        url = f"{self.api}/dandisets/{dandiset}/"
        return self._known(f"{dandiset}/version.json", lambda: self.link.json(url), read, lasting=False)

    def assets(self, dandiset: str, version: str, pattern: str = "*") -> list[Asset]:
        """List the assets of a version whose paths fit a pattern.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the listing is not whole, has no form neurodyn knows, or must be asked for and the link is offline.
        """

        def read(rows: Any) -> list[Asset]:
            return [
                Asset(
                    dandiset, version, str(row["asset_id"]), _safe(row["path"]), int(row["size"]), bool(row.get("zarr"))
                )
                for row in rows
            ]

        folder = f"{dandiset}/{version}"
        every = f"{folder}/{_listing('*')}"
        name = (
            every if (self.cache / every).is_file() and self._is_lasting(version) else f"{folder}/{_listing(pattern)}"
        )
        return self._known(name, lambda: self._listed(dandiset, version, pattern), read, self._is_lasting(version))

    def digest(self, asset: Asset) -> str | None:
        """Return the SHA-256 that the archive states of an asset, hex digits; None where it states none.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the answer has no form neurodyn knows, or must be asked for and the link is offline.
        """

        def read(reply: Any) -> str | None:
            stated = reply.get("digest", {}).get("dandi:sha2-256")
            return None if stated is None else str(stated).lower()

        url = f"{self.api}/assets/{asset.id}/"
        return self._known(f"assets/{asset.id}.json", lambda: self.link.json(url), read, lasting=True)

    def fetch(self, asset: Asset, target: Path, report: Report | None = None) -> Path:
        """Return an asset's file, fetched unless it is there; length and checksum are compared.

        Raises
        ------
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the asset is a Zarr folder, what came is not the asset, the disk is full, or the file must be asked for
            and the link is offline.
        """
        _refuse_zarr(asset)
        digest = self.digest(asset)
        if digest is None:
            LOGGER.warning("%s: the archive states no SHA-256; only the length is compared.", asset.path)
        if target.is_file():
            try:
                _check(asset, digest, target)
            except DataError as error:
                LOGGER.warning("%s %s It is fetched again.", error.what, error.found)
            else:
                return target
        if self.link.offline:
            raise _not_kept(f"{asset.path} is not there.", target)
        return self.link.download(self._download(asset), target, lambda path: _check(asset, digest, path), report)

    @contextmanager
    def streamed(self, asset: Asset) -> Iterator[h5py.File]:
        """Open an asset over the network; only what is read of it travels, and nothing is compared with a checksum.

        Raises
        ------
        ConfigError
            If remfile is not installed.
        WorkError
            If the server cannot be had, or refuses.
        DataError
            If the asset is a Zarr folder or no HDF5 file, or the link is offline.
        """
        _refuse_zarr(asset)
        url = Place(self.link, self._download(asset))
        url.get_url()  # a refusal is told by our own link
        try:
            file = h5py.File(Remote(url, asset.path, asset.size, self.link.timeout), "r", rdcc_nbytes=CHUNKS)
        except OSError as error:
            raise DataError(
                f"{asset.path} is no HDF5 file.", f"{error}.", "Fetch it without --stream --convert."
            ) from error
        with file:
            yield file

    def _download(self, asset: Asset) -> str:
        return f"{self.api}/assets/{asset.id}/download/"

    def _is_lasting(self, version: str) -> bool:
        return version != DRAFT

    def _known(self, name: str, ask: Callable[[], Any], read: Callable[[Any], Any], lasting: bool) -> Any:
        """Return what an answer says, from the cache where that is as good; only answers that can be read are kept."""
        kept = self.cache / name
        if kept.is_file() and (lasting or self.link.offline):
            return _read(read, read_json(kept), str(kept))
        if self.link.offline:
            raise _not_kept("The archive's answer is not in the cache.", kept)
        answer = ask()
        found = _read(read, answer, self.api)
        write_json(kept, answer)
        return found

    def _listed(self, dandiset: str, version: str, pattern: str) -> list[Any]:
        """Ask for every page of a listing."""
        rows: list[Any] = []
        count, more = None, True
        while more:
            query = {"page": len(rows) // PAGE + 1, "page_size": PAGE, "order": "path"}
            query |= {} if pattern == "*" else {"glob": pattern}
            url = f"{self.api}/dandisets/{dandiset}/versions/{version}/assets/?{urllib.parse.urlencode(query)}"
            page, following, stated = _read(
                lambda reply: (list(reply["results"]), reply["next"], reply["count"]), self.link.json(url), self.api
            )
            count, more = (stated if count is None else count), following is not None and len(page) == PAGE
            rows += page
        if count is not None and count != len(rows):
            raise DataError(
                f"{self.api}: the listing of {dandiset} is not whole.",
                f"Found {len(rows)} of {count} assets.",
                "Type the command again.",
            )
        return rows


def parse_dandiset(text: str) -> str:
    """Read a dandiset's number: 000728, 728 or DANDI:000728.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    found = re.fullmatch(r"(?:DANDI:)?(\d{1,6})", text, re.IGNORECASE)
    if found is None:
        raise ConfigError(f"{text} is no dandiset.", "Expected a number of six digits.", "Example: 000728")
    return found[1].zfill(6)


def _read(read: Callable[[Any], Any], answer: Any, where: str) -> Any:
    try:
        return read(answer)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where} answers in no form neurodyn knows.",
            f"It lacks or garbles {error}; found {str(answer)[:80]!r}.",
            "Check --api, or try again later.",
        ) from error


def _listing(pattern: str) -> str:
    return f"assets-{hashlib.sha256(pattern.encode()).hexdigest()[:12]}.json"


def _safe(path: Any) -> str:
    """Return a path that stays in its folder, as given."""
    parts = PurePosixPath(str(path)).parts
    if not parts or ".." in parts or PurePosixPath(str(path)).is_absolute() or "\\" in str(path):
        raise ValueError(f"path {path!r}")
    return str(path)


def _check(asset: Asset, digest: str | None, path: Path) -> None:
    size = path.stat().st_size
    if size != asset.size:
        raise DataError(
            f"{path} is not {asset.path}.", f"Found {size:,} of {asset.size:,} bytes.", "Type the command again."
        )
    if digest is not None and (found := sha256(path)) != digest:
        raise DataError(
            f"{path} has the wrong checksum.",
            f"Found SHA-256 {found}; the archive states {digest}.",
            "Type the command again.",
        )


def _refuse_zarr(asset: Asset) -> None:
    if asset.is_zarr:
        raise DataError(
            f"{asset.path} is a Zarr folder.", "neurodyn fetches assets that are files.", "Leave it out: --path GLOB"
        )


def _not_kept(what: str, place: Path) -> DataError:
    return DataError(
        what, f"Expected {place}; --offline allows no request.", "Type the command once without --offline."
    )
