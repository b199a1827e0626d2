"""Putting what is finished into its place, in one move, and trying that place beforehand."""

from __future__ import annotations

import os
import pathlib
import tempfile
import time

_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if os.name == "nt" else ()


def check_place(path: pathlib.Path) -> None:
    """Tries whether a file can be written, before any work is done for it; its folder is made.

    Raises:
        OSError: It cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        return


def moved(source: str | pathlib.Path, target: str | pathlib.Path) -> None:
    """Moves a file or folder to where it belongs, in place of a file that is there.

    Windows refuses while any process has one of them open, be it an antivirus that looks at what
    was just written. There it is tried again, for two seconds in all.

    Raises:
        OSError: It cannot be moved.
    """
    for pause in _PAUSES_S:
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(source, target)
