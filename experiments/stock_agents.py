"""Stable-Baselines3's own agents in a process that has loaded TensorFlow."""

from __future__ import annotations

import sys


def without_triton() -> None:
    """Keeps PyTorch from loading Triton, its compiler for GPUs, in this process.

    PyTorch from PyPI brings Triton along on Linux, and its optimisers load it. Loaded after
    TensorFlow 2.21, Triton 3.7 ends the process by a segmentation fault; where it is missing,
    PyTorch does without it.
    """
    sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
