"""The local server of a window: what it answers, and to whom."""

from __future__ import annotations

import json
import secrets
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neurodyn.core.errors import DataError, NeurodynError
from neurodyn.view import pack
from neurodyn.view.curation import Curation
from neurodyn.view.frames import greys
from neurodyn.view.scene import Scene

SCRIPTS = ("source.js", "plane.js", "movie.js", "traces.js", "averages.js", "tuning.js", "cells.js", "main.js")
ASSETS = {"style.css": "text/css"} | dict.fromkeys(SCRIPTS, "text/javascript")
LOCAL = ("127.0.0.1", "localhost")
HEADERS = {
    # a notebook shows the page in a frame; nobody else may
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def page_file(name: str) -> str:
    """Return the text of a file of the page."""
    return files("neurodyn.view").joinpath("page", name).read_text(encoding="utf-8")


class Guard:
    """Lets through only who has the token, and asks from a page of this server.

    The name of the host is checked, too: a foreign site may have its own name point to this machine.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to everybody else."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = _refused(scope, self.token)
        answer = self.app if refused is None else JSONResponse({"what": refused, "found": "", "fix": ""}, 403)
        await answer(scope, receive, told)


def _refused(scope: Scope, token: str) -> str | None:
    """Return why a request is refused; None where it is not."""
    headers = Headers(scope=scope)
    host, origin = headers.get("host", ""), headers.get("origin")
    if urlsplit(f"//{host}").hostname not in LOCAL:
        return "This server answers on 127.0.0.1 alone."
    if origin is not None and origin != f"http://{host}":
        return "This server answers to its own page alone."
    given = scope["path"].split("/")[1]
    if not secrets.compare_digest(given.encode(), token.encode()):
        return "The address lacks the token that neurodyn view printed."
    return None


def application(scene: Scene, curation: Curation, token: str) -> Starlette:
    """Return the application of a window; every address begins with the token."""
    desk = Desk(scene, curation)
    routes = [
        Route("/{token}/", _page),
        Route("/{token}/about", desk.about),
        Route("/{token}/picture", desk.picture),
        Route("/{token}/traces", desk.traces),
        Route("/{token}/average", desk.average),
        Route("/{token}/quality", desk.quality),
        Route("/{token}/cells", desk.cells, methods=["GET", "POST"]),
        Route("/{token}/{asset}", _asset),
    ]
    app = Starlette(routes=routes, exception_handlers={NeurodynError: _three_lines})
    app.router.redirect_slashes = False
    app.add_middleware(Guard, token=token)
    return app


def _page(request: Request) -> Response:
    return Response(page_file("index.html"), media_type="text/html")


def _asset(request: Request) -> Response:
    name = request.path_params["asset"]
    if name not in ASSETS:  # a name of a list, never of a file
        raise HTTPException(404)
    return Response(page_file(name), media_type=ASSETS[name])


def _three_lines(request: Request, error: Exception) -> Response:
    assert isinstance(error, NeurodynError)
    status = 400 if isinstance(error, DataError) else 500
    return JSONResponse({"what": error.what, "found": error.found, "fix": error.fix}, status)


class Desk:
    """Answers about one scene. Its methods run in threads, so that a slow read holds up nobody else."""

    def __init__(self, scene: Scene, curation: Curation) -> None:
        self.scene, self.curation = scene, curation

    def about(self, request: Request) -> Response:
        """Answer what the page draws itself with."""
        return JSONResponse(pack.about(self.scene) | {"curation": self._standing()})

    def picture(self, request: Request) -> Response:
        """Answer one picture as bytes, row by row; shape, levels and number of the frame are in its headers."""
        asked = request.query_params
        name = asked.get("name", "")
        values, index = self.scene.picture(name, _number(asked.get("at"), 0.0))
        if "low" in asked:
            low, high = _number(asked.get("low"), 0.0), _number(asked.get("high"), 1.0)
            told = ""
        else:
            chosen = self.scene.levels(name)
            low, high = chosen.low, chosen.high
            told = json.dumps([chosen.low, chosen.high, chosen.lowest, chosen.highest])
        headers = {"X-Shape": ",".join(map(str, values.shape)), "X-Frame": str(index), "X-Levels": told}
        return Response(greys(values, low, high).tobytes(), media_type="application/octet-stream", headers=headers)

    def traces(self, request: Request) -> Response:
        """Answer traces of some cells in a stretch of time."""
        asked, time = request.query_params, self.scene.time
        rows = [self._row(cell) for cell in asked.getlist("cell")]
        names = [self._variable(name) for name in asked.getlist("variable")]
        start, stop = _number(asked.get("start"), float(time[0])), _number(asked.get("stop"), float(time[-1]))
        return JSONResponse(pack.window(self.scene, rows, names, start, stop, int(_number(asked.get("bins"), 1000.0))))

    def average(self, request: Request) -> Response:
        """Answer the event averages of a cell."""
        asked = request.query_params
        row, variable = self._row(asked.get("cell", "")), self._variable(asked.get("variable", ""))
        return JSONResponse(pack.average(self.scene, row, variable, asked.get("column", "")))

    def quality(self, request: Request) -> Response:
        """Answer the columns of quality, computed where the recording has none."""
        return JSONResponse(pack.quality(self.scene))

    async def cells(self, request: Request) -> Response:
        """Answer what stands of the curation, after an action if one is given."""
        if request.method == "POST":
            await run_in_threadpool(self._act, await request.body())
        return JSONResponse(await run_in_threadpool(self._standing))

    def _act(self, body: bytes) -> None:
        try:
            given = {name: str(json.loads(body).get(name, "")) for name in ("action", "cell", "into")}
        except (ValueError, AttributeError) as error:
            raise DataError("This is no action.", f"{error}.", "Send {action, cell, into} as JSON.") from error
        self.curation.act(**given)

    def _standing(self) -> dict[str, Any]:
        return pack.standing(self.curation.verdicts(), str(self.curation.path))

    def _row(self, cell: str) -> int:
        if cell not in self.scene.cells:
            raise DataError(f"There is no cell '{cell}'.", f"There are {len(self.scene.cells)}.", "Choose another one.")
        return self.scene.cells.index(cell)

    def _variable(self, name: str) -> str:
        if name not in self.scene.traces.variables:
            raise DataError(f"There are no traces '{name}'.", "", "Choose others.")
        return name


def _number(text: str | None, default: float) -> float:
    try:
        value = default if text is None else float(text)
    except ValueError as error:
        raise DataError(f"'{text}' is no number.", "", "Give a number.") from error
    return value if np.isfinite(value) else default
