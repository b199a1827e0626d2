"""Speeds of several parties, measured in turn, so that a busy machine slows them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

ROUNDS = 5

Party = tuple[Callable[[], object], int]
"""What a round does, and how many units that makes."""


def rates(parties: Mapping[str, Party]) -> dict[str, float]:
    """Returns the median of each party's units per second over alternating rounds.

    A first round of each, in which it may still compile, does not count. Five digits are kept.
    """
    found: dict[str, list[float]] = {name: [] for name in parties}
    for work, _ in parties.values():
        work()
    for _ in range(ROUNDS):
        for name, (work, units) in parties.items():
            started = time.perf_counter()
            work()
            found[name].append(units / (time.perf_counter() - started))
    return {name: float(f"{np.median(each):.5g}") for name, each in found.items()}
