"""The processor cores that this process may use."""

from __future__ import annotations

import os


def usable() -> tuple[int, ...]:
    """Returns the numbers of the cores; where the system tells no choice of them, of all."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))
