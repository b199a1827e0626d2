"""What a program runs on and with, for reports of bugs: what `donkey-rl version --all` shows."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import re
from importlib import metadata
from typing import Final

import donkey_rl
from donkey_rl.configuration import Config
from donkey_rl.experiments import mlflow_store, process_clock

_PACKAGE = "donkey-rl"
_BEHIND: Final = ("torch", "jax")
"""Packages that others bring along, and whose versions matter."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_THREADS = (
    "OMP_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "CUDA_VISIBLE_DEVICES",
)
_POOLS = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}
"""Layers of Numba in the order in which it tries them, with the module of each."""


class Versions(Config):
    """What a report of a bug needs, without anything secret.

    Attributes:
        donkey_rl: Version of this package.
        installed: Where its code lies.
        python: Version of Python, with its implementation.
        platform: The system and its version.
        processor: Model of the processor.
        cores: Cores that may be used.
        environment: Variables that decide about threads, of those that are set.
        numba_layer: What Numba's parallel code would run on.
        run_store: Address of the run store, without user and password.
        packages: Version of each dependency, None for one that is not installed.
    """

    donkey_rl: str
    installed: str
    python: str
    platform: str
    processor: str
    cores: int
    environment: dict[str, str]
    numba_layer: str
    run_store: str
    packages: dict[str, str | None]


def collect() -> Versions:
    """Looks at this process, this machine and what is installed; nothing of it is imported."""
    machine = process_clock.machine()
    return Versions(
        donkey_rl=donkey_rl.__version__,
        installed=os.path.dirname(donkey_rl.__file__),
        python=f"{platform.python_version()} ({platform.python_implementation()})",
        platform=platform.platform(),
        processor=machine[process_clock.PROCESSOR_TAG],
        cores=int(machine[process_clock.CORES_TAG]),
        environment={name: os.environ[name] for name in _THREADS if name in os.environ},
        numba_layer=_numba_layer(),
        run_store=mlflow_store.shown(mlflow_store.tracking_uri()),
        packages={name: _version(name) for name in _dependencies()},
    )


def _dependencies() -> tuple[str, ...]:
    """Returns the names of all packages that this one can use, extras and development included."""
    try:
        required = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        required = []
    names = (match[0] for line in required if (match := _NAME.match(line)))
    return tuple(sorted({*names, *_BEHIND}, key=str.lower))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numba_layer() -> str:
    """Returns what Numba would run parallel code on: as it is told, or the first that loads."""
    wanted = os.environ.get("NUMBA_THREADING_LAYER", "default")
    if wanted in _POOLS:
        return wanted
    for layer, pool in _POOLS.items():
        with contextlib.suppress(ImportError):
            importlib.import_module(f"numba.np.ufunc.{pool}")
            return layer
    return "none"
