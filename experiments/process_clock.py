"""Wall time since the process started, imports included."""

from __future__ import annotations

import os
import pathlib
import time

_IMPORTED = time.monotonic()


def seconds() -> float:
    """Returns the wall time since this process started (s).

    Where the system does not tell (no ``/proc``), since this module was imported.
    """
    try:
        fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        # The 22nd field of the file, in clock ticks since the machine was started.
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED
