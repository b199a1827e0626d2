"""Putting what is finished into its place, in one move, and trying that place beforehand."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import IO


def _usual_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


_USUAL_MODE = _usual_mode()
"""Of new files, which temporary ones do not have; asked once, since all threads share the mask."""

_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if os.name == "nt" else ()


def check_place(path: pathlib.Path) -> None:
    """Tries whether a file can be written, before any work is done for it; its folder is made.

    Raises:
        OSError: It cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        return


@contextlib.contextmanager
def replacement(
    path: pathlib.Path, *, durable: bool = False, mode: int | None = None
) -> Iterator[IO[bytes]]:
    """Yields a file beside `path` that takes its place once the block has succeeded.

    Args:
        path: The file; its folder is made.
        durable: Whether it is on the disk before it takes the place, so that it outlives a power
            cut. The death of this process leaves a whole file in any case, the old or the new.
        mode: Who may read and write it; by default as the system gives it to new files.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of no other process: two may write one file.
    draft = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            draft = pathlib.Path(file.name)
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.chmod(_USUAL_MODE if mode is None else mode)
        moved(draft, path)
        draft = None
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def write(
    path: pathlib.Path, content: str | bytes, *, durable: bool = False, mode: int | None = None
) -> None:
    """Writes a file in one move: see `replacement`. Text is written as UTF-8, lines end in LF.

    Raises:
        OSError: It cannot be written.
    """
    with replacement(path, durable=durable, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


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
