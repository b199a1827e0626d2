"""Settings that change while an agent learns."""

from __future__ import annotations

from collections.abc import Callable


def linear(start: float, end: float | None) -> float | Callable[[float], float]:
    """Returns Stable-Baselines3's kind of schedule: share of the run left -> value.

    Args:
        start: Value at the start of the run.
        end: Value at its end, reached linearly; None keeps it constant.

    >>> linear(1.0, 0.0)(0.25), linear(1.0, 0.5)(-3.0), linear(1.0, None)
    (0.25, 0.5, 1.0)
    """
    if end is None:
        return start
    # The last rollout goes beyond the end of the run.
    return lambda remaining: end + (start - end) * max(remaining, 0.0)
