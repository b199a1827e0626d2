"""What this process holds: open files, memory, threads of links."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def memory() -> int:
    """Bytes that this process holds."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def link_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "simulator link"]
