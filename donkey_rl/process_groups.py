"""Processes that end together with all that they have started.

They are started with `start_new_session`, which makes a group of them. Where there are no such
groups, on Windows, those are ended that were started by the process and still run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import Any


def end(process: subprocess.Popen[Any], grace_s: float) -> None:
    """Asks a process and what it has started to end, and ends what still runs after it.

    Args:
        process: Leads its group.
        grace_s: Time that it has to end by itself (s).
    """
    if sys.platform == "win32":
        # Nothing can be asked to end there.
        kill(process)
        process.wait()
        return
    _signal(process, signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # What it started may go on where it has ended itself.
        kill(process)
        process.wait()


def kill(process: subprocess.Popen[Any]) -> None:
    """Ends a process and what it has started at once; may be called again."""
    if sys.platform == "win32":
        _kill_tree(process.pid)
    else:
        _signal(process, signal.SIGKILL)


def _kill_tree(number: int) -> None:
    """Ends a process and all that it, and what it started, has started."""
    import psutil  # type: ignore[import-untyped]

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(number)
        for each in (*parent.children(recursive=True), parent):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                each.kill()


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    # The group is gone, or what is left of it has ended and waits to be noticed.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
