"""What a race was driven with: the versions that its course depends on."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

from donkey_rl.agents import manifest

_PACKAGES = ("ai-edge-litert", "numba", "pillow")
"""Beside those that a driver depends on: they move cars, decode pictures and carry drivers."""


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of packages, and the kind of processor, by name."""
    found = manifest.installed_versions() | {n: metadata.version(n) for n in _PACKAGES}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}
