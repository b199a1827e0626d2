"""Locks on open files, which the system gives free however a process ends."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def take(descriptor: int) -> bool:
    """Locks an open file for this process at once, and returns whether it could.

    Args:
        descriptor: Of a file that is open for writing; closing it gives it free.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
