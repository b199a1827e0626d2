"""How many seeds the fault suites run: a few in every test run, all of them when asked."""

from __future__ import annotations

import os


def seeds(usual: int) -> range:
    """Seeds to run; DONKEY_RL_FAULT_RUNS=500 runs so many of each suite."""
    return range(int(os.environ.get("DONKEY_RL_FAULT_RUNS", usual)))
