"""What a race was driven with: the versions that its course depends on."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

_PACKAGES = ("ai-edge-litert", "keras", "numba", "numpy", "pillow", "tensorflow")
"""Those that move cars, decode pictures and carry drivers."""


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of Python and of packages, and the kind of processor, by name."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}
