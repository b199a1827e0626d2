"""MLflow's pages of all runs, served on this machine only."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator

from donkey_rl import process_groups
from donkey_rl.errors import InputError, StorageError
from donkey_rl.experiments import saved_view
from donkey_rl.experiments.mlflow_store import set_environment, shown, tracking_uri

HOST = "127.0.0.1"
_PORTS = range(5000, 5010)
_START_S = 120.0
_GRACE_S = 10.0
"""Time to end after being asked to."""


def open_dashboard(
    port: int | None = None,
    uri: str | None = None,
    *,
    browser: bool = True,
    announce: Callable[[str, bool], None] | None = None,
) -> None:
    """Serves the pages until Ctrl-C, and shows them in the browser where there is a screen.

    They open with a saved view of the runs' laps, see `saved_view`. A store that is a server
    already has pages: these are opened.

    Args:
        port: Port on this machine; by default 5000, or the next that is free.
        uri: The store, as in `donkey_rl.experiments.tracking.start`.
        browser: Whether to open the browser.
        announce: Called once the pages can be opened, with their address and whether they end
            with this call.

    Raises:
        InputError: If the port is taken.
        StorageError: If the store cannot be written, or the pages do not come up.
    """
    base = tracking_uri(uri)
    if base.startswith(("http://", "https://")):
        pages = shown(base).replace("***@", "")
        with contextlib.suppress(StorageError):
            # Its pages can be seen by who may write nothing there.
            pages = saved_view.address(pages, uri)
        _show(pages, browser, announce, ours=False)
        return
    if port is None:
        port = _free_port()
    base = f"http://{HOST}:{port}"
    with serve(port, uri) as server, contextlib.suppress(KeyboardInterrupt):
        _show(saved_view.address(base, uri), browser, announce, ours=True)
        server.wait()


def _show(
    address: str, browser: bool, announce: Callable[[str, bool], None] | None, *, ours: bool
) -> None:
    if announce is not None:
        announce(address, ours)
    if browser and has_screen():
        webbrowser.open(address)


@contextlib.contextmanager
def serve(port: int, uri: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Serves the pages inside a ``with`` block, from when they answer.

    Raises:
        InputError: If the port is taken.
        StorageError: If the pages do not come up.
    """
    _check_port(port)
    set_environment()
    words = ("mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1")
    server = subprocess.Popen(
        [sys.executable, "-m", *words],
        # Not as an option, which everyone on this machine can read: it may hold a password.
        env=os.environ | {"MLFLOW_BACKEND_STORE_URI": tracking_uri(uri)},
        # Standard output stays free for what the command line has to say.
        stdout=sys.stderr,
        start_new_session=os.name != "nt",
    )
    try:
        wait_until_up(server, port)
        yield server
    finally:
        process_groups.end(server, _GRACE_S)


def _free_port() -> int:
    """Returns the first port from 5000 on that is free; macOS has a service of its own there."""
    for port in _PORTS:
        with contextlib.suppress(InputError):
            _check_port(port)
            return port
    raise InputError(
        f"Expected a free port from {_PORTS[0]} to {_PORTS[-1]}. Received: none. Pass one with "
        "--port."
    )


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"Port {port} cannot be used: {error.strerror}. Pass another one with --port."
            ) from error


def wait_until_up(server: subprocess.Popen[bytes], port: int) -> None:
    """Returns as soon as a server of MLflow's on this machine can be reached.

    Raises:
        StorageError: It ended, or did not come up in time.
    """
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)
    raise StorageError(
        f"The MLflow pages did not come up on port {port}. Received: exit status {server.poll()}."
    )


def has_screen() -> bool:
    """Whether there is a screen; without one a text browser would take the terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)
