"""`Window`: a server that runs, and its address."""

from __future__ import annotations

import secrets
import socket
import threading
import time
import webbrowser
from pathlib import Path

import uvicorn

from neurodyn.core.errors import ConfigError, WorkError
from neurodyn.view.curation import Curation
from neurodyn.view.scene import Scene
from neurodyn.view.server import application

HOST = "127.0.0.1"
STARTUP = 10.0  # s


class Window:
    """A window on a scene, served on this machine alone.

    Parameters
    ----------
    scene
        What is shown.
    cells
        The log of the curation.
    port
        0 for any that is free.

    Raises
    ------
    ConfigError
        If the port is taken.
    """

    def __init__(self, scene: Scene, cells: Path, port: int = 0) -> None:
        self.scene, self.curation = scene, Curation(cells, scene.cells, scene.recording.session)
        self.curation.actions()  # a file that is no log is refused before anything is shown
        self.token = secrets.token_urlsafe(18)
        self._socket = _bound(port)
        self._port = self._socket.getsockname()[1]
        # without its own logging: its one line of start and stop is not our user's
        config = uvicorn.Config(
            application(scene, self.curation, self.token), log_config=None, access_log=False, lifespan="off", ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address, with the token without which nothing is answered."""
        return f"http://{HOST}:{self._port}/{self.token}/"

    def start(self) -> Window:
        """Serve in a thread of this process, until it ends or `close` is called."""
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True, name="neurodyn view"
        )
        self._thread.start()
        deadline = time.monotonic() + STARTUP
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise WorkError("The window's server did not start.", f"Waited {STARTUP:g} s.", "Try again.")
            time.sleep(0.01)
        return self

    def wait(self) -> None:
        """Serve until interrupted."""
        thread = self._thread or self.start()._thread
        assert thread is not None
        while thread.is_alive():
            thread.join(0.5)

    def browse(self) -> bool:
        """Open the address in the user's browser; say whether there was one."""
        return webbrowser.open(self.url)

    def export(self, path: str | Path) -> Path:
        """Write the page as one file that opens offline, without the movie, and return its path."""
        from neurodyn.view.export import export

        return export(self.scene, self.curation, Path(path))

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STARTUP)
        self._socket.close()
        self.scene.frames.close()

    def _repr_html_(self) -> str:
        """Show the window in a notebook."""
        return f'<iframe src="{self.url}" width="100%" height="820" style="border:1px solid #ccc"></iframe>'

    def __repr__(self) -> str:
        return f"Window on '{self.scene.recording.session}': {self.url}"


def _bound(port: int) -> socket.socket:
    # asyncio sends small answers at once (TCP_NODELAY) only where the protocol is told
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen()  # two sockets may be bound to one port until one of them listens
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigError(
            f"Port {port} cannot be used.", f"The system says: {error}.", "Leave --port out, for one that is free."
        ) from error
    return bound
