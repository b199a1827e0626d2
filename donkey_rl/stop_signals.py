"""The signals by which a person or a system asks a process to end.

Ctrl-C is SIGINT, `kill`, `docker stop` and a machine that shuts down send SIGTERM, and a terminal
that is closed sends SIGHUP, often twice.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def handled(handler: Handler, *, ctrl_c: bool = True) -> Iterator[None]:
    """Has a function told of the signals inside a ``with`` block.

    Signals other than Ctrl-C that are ignored, such as SIGHUP by `nohup`, stay so. Once one of
    them has asked the process to end, they are ignored behind the block as well: it is about to
    end, and nothing is to disturb what it stores. Outside the main thread nothing changes.

    Args:
        handler: Called in the main thread, wherever it is; what it raises is raised there.
        ctrl_c: Whether of Ctrl-C, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    others = [signal.SIGTERM]
    if sys.platform != "win32":
        others.append(signal.SIGHUP)
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if number != signal.SIGINT:
            if asked:
                return
            asked = True
        handler(number, frame)

    wanted = [signal.SIGINT, *others] if ctrl_c else others
    ignored = [each for each in others if signal.getsignal(each) is signal.SIG_IGN]
    heeded = [each for each in wanted if each not in ignored]
    before: dict[signal.Signals, Any] = {each: signal.signal(each, handle) for each in heeded}
    try:
        yield
    finally:
        for each, handler_before in before.items():
            stays_ignored = asked and each != signal.SIGINT
            signal.signal(each, signal.SIG_IGN if stays_ignored else handler_before)


@contextlib.contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Has the other signals raise `KeyboardInterrupt` inside a ``with`` block, as Ctrl-C does.

    They would end this process where it is, and leave behind what it has started.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with handled(interrupt, ctrl_c=False):
        yield
