"""Processes that end together with all that they have started.

They are started with `start_new_session`, which makes a group of them. Where there are no such
groups, on Windows, the process alone is ended.
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
        process.terminate()
    else:
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
        process.kill()
    else:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    # The group is gone, or what is left of it has ended and waits to be noticed.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
