"""Running what waits for connections."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs until it has ended, as `asyncio.run` does.

    On Windows by the loop that waits with `select`: the one that is usual there stops listening
    for good when a client goes in the moment of its coming (python/cpython#93821), and tells of
    each client that breaks off by a traceback.
    """
    loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform == "win32":
        loop = asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work)
