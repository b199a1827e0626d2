"""A connection to a Ray cluster that lets nobody in without its token.

Ray runs whatever its clients send it, so that a cluster without authentication is a machine that
anybody on the network may use (CVE-2023-48022). Since Ray 2.52 a token can be asked of every
client; here none is connected to that does not ask. Ray sends Python objects between its nodes as
pickles: that is borne inside such a cluster only, and never for a file.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from donkey_rl import web_access
from donkey_rl.errors import DonkeyRLError, InputError
from donkey_rl.experiments.progress import ProgressDisplay

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")
_ANSWER_S = 60.0
_STORE_BYTES = 100_000_000
_REFUSED = "InvalidAuthToken"

_USUAL = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
# Without it Ray binds to all interfaces on Linux, whatever address it is given.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Node(NamedTuple):
    """A node of the cluster that is alive.

    Attributes:
        host: Name of its machine.
        cpus: Cores that it offers.
    """

    host: str
    cpus: float


@contextlib.contextmanager
def connected(address: str | None, progress: ProgressDisplay) -> Iterator[tuple[Node, ...]]:
    """Connects this process to a cluster, or to one of its own that ends with the block.

    Args:
        address: ``HOST:PORT`` of a cluster's head node, as ``ray start`` shows it; None for a
            cluster of this machine's cores, on the loopback, with a token of its own.
        progress: Shows what is waited for.

    Yields:
        The nodes that are alive now.

    Raises:
        InputError: Ray is not installed, the address is none, the cluster asks for no token, or
            for another one.
        DonkeyRLError: The cluster cannot be reached.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError('Ray is not installed. Type: pip install "donkey-rl[cluster]".')
    with _environment(_variables(address)):
        if address is not None:
            progress.message(f"connecting to the Ray cluster at {address}")
            _check_token(address)
        else:
            progress.message("starting Ray on this machine")
        import ray

        with _own_sigterm():
            _start(address)
        try:
            yield tuple(
                Node(each["NodeManagerHostname"], each["Resources"].get("CPU", 0.0))
                for each in ray.nodes()  # type: ignore[no-untyped-call]
                if each["Alive"]
            )
        finally:
            ray.shutdown()


def is_this_machine(nodes: tuple[Node, ...]) -> bool:
    """Whether all nodes are processes of this machine."""
    return {node.host for node in nodes} <= {socket.gethostname()}


def _variables(address: str | None) -> dict[str, str]:
    """Returns what Ray reads from its environment."""
    if address is None:
        return _USUAL | _LOOPBACK_ONLY | {"RAY_AUTH_TOKEN": _own_token()}
    if web_access.is_loopback(_parsed(address)[0]):
        return _USUAL | _LOOPBACK_ONLY
    return dict(_USUAL)


@functools.cache
def _own_token() -> str:
    """Returns the token of a cluster that this process starts: Ray remembers the first one."""
    return secrets.token_hex(32)


def _parsed(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found[2]) <= 65535:
        raise InputError(
            f"A cluster's address is HOST:PORT, as `ray start --head` shows it. Received: "
            f"'{address}'."
        )
    return found[1].strip("[]"), int(found[2])


def _check_token(address: str) -> None:
    """Makes sure that the cluster lets this client in, and nobody without a token."""
    with_token, without = _asked(address, {}), _asked(address, {"RAY_AUTH_MODE": "disabled"})
    if without is None:
        raise InputError(
            f"The Ray cluster at {address} lets anybody in who reaches it. Start its nodes with "
            "RAY_AUTH_MODE=token and the token of `ray get-auth-token --generate`; see "
            "docs/scaling.md."
        )
    if _REFUSED in without and with_token is not None:
        raise InputError(
            f"The Ray cluster at {address} asks for another token, or for one where there is "
            "none. Give its token in RAY_AUTH_TOKEN, in a file named by RAY_AUTH_TOKEN_PATH, or "
            "in ~/.ray/auth_token."
        )
    if with_token is not None:
        raise DonkeyRLError(
            f"No Ray cluster answers at {address}: {_last_line(with_token)}. Type the address "
            "that `ray start --head` showed there."
        )


def _asked(address: str, variables: Mapping[str, str]) -> str | None:
    """Returns None where a client is let in, otherwise what it is told."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(
            command,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_ANSWER_S:g} s"
    return None if asked.returncode == 0 else asked.stderr + asked.stdout


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else "no reason was given"


def _start(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=os.cpu_count() or 1,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, OSError, RuntimeError, ray.exceptions.RayError) as error:
        where = f"at {address}" if address else "of this machine"
        raise DonkeyRLError(
            f"The Ray cluster {where} cannot be used: {_last_line(str(error))}. This machine "
            "must be one of its nodes: `ray start --address HOST:PORT --num-cpus 0` makes it one "
            "that only looks on."
        ) from error


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keeps what SIGTERM means here: Ray makes it end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
