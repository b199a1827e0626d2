"""Wall time and processor time of a run: since its process started, imports included.

Where several runs follow each other in one process, as in a sweep's worker, the first one pays for
the start, and each later one counts from where it began. And the machine that it runs on.
"""

from __future__ import annotations

import os
import pathlib
import platform
import time

from donkey_rl import cores

PROCESSOR_TAG, CORES_TAG, GPUS_TAG = "machine.processor", "machine.cores", "machine.gpus"
"""Tags of a run."""

_IMPORTED = time.monotonic()
_before: tuple[float, float] | None = None
"""Wall and processor time of this process that earlier runs have taken; None before the first."""


def begin() -> None:
    """Begins a run: what was before it is not its own, but for the start of the process."""
    global _before
    _before = (0.0, 0.0) if _before is None else (_age_s(), spent_s())


def seconds() -> float:
    """Returns the wall time of the run (s).

    Where the system does not tell when the process started (no ``/proc``), its first run counts
    from when this module was imported.
    """
    return _age_s() - (_before[0] if _before is not None else 0.0)


def _age_s() -> float:
    try:
        fields = (
            pathlib.Path("/proc/self/stat")
            .read_text("utf-8", "replace")
            .rpartition(")")[2]
            .split()
        )
        # The 22nd field of the file, in clock ticks since the machine was started.
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _IMPORTED


def cpu_seconds() -> float:
    """Returns the processor time of the run (s).

    It is that of all threads together, and of child processes that have ended: two busy cores
    take two seconds of it in one.
    """
    return spent_s() - (_before[1] if _before is not None else 0.0)


def spent_s() -> float:
    """Returns the processor time of the process so far (s), counted as in `cpu_seconds`."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def machine() -> dict[str, str]:
    """Returns the tags of a run that say what it computes on: its processor and usable cores.

    There is no GPU among them: TensorFlow does not see any (`agents.tensorflow_setup`).
    """
    return {
        PROCESSOR_TAG: _processor() or platform.machine(),
        CORES_TAG: str(len(cores.usable())),
        GPUS_TAG: "0",
    }


def machine_in_words() -> str:
    """Returns the processor, the cores that this process may use, and the system, as one text."""
    found = machine()
    return f"{found[PROCESSOR_TAG]}, {found[CORES_TAG]} cores, {platform.system()}"


def _processor() -> str:
    """Returns the name of the processor's model, empty where the system does not tell it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "")
