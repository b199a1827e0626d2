"""Sharing the cars among the cores.

The compiled kernels release the interpreter's lock, so plain threads carry them. Numba's own
OpenMP threads would spin between two frames and take the cores from TensorFlow, and could not
be called from two Python threads at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent import futures

from donkey_rl import cores

_LEAST_SHARE = 2
"""Fewer cars than this are not worth a thread of their own."""

_pool: futures.ThreadPoolExecutor | None = None


def threads() -> int:
    """Returns how many threads draw and drive: the cores, or ``DONKEY_RL_THREADS``."""
    chosen = os.environ.get("DONKEY_RL_THREADS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    return len(cores.usable())


def _forget_pool() -> None:
    """A forked child has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def over(count: int, work: Callable[[int, int], object]) -> None:
    """Runs ``work(start, end)`` over parts of ``range(count)`` at the same time.

    Args:
        count: How many items there are.
        work: Called once for each part, from several threads.
    """
    global _pool
    parts = max(1, min(threads(), count // _LEAST_SHARE))
    if parts == 1:
        work(0, count)
        return
    if _pool is None:
        _pool = futures.ThreadPoolExecutor(max(1, threads() - 1), "donkey-rl-simulator")
    edges = [count * k // parts for k in range(parts + 1)]
    pending = [_pool.submit(work, edges[k], edges[k + 1]) for k in range(1, parts)]
    work(edges[0], edges[1])
    for part in pending:
        part.result()
