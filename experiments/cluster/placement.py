"""Where work is placed: on this machine, or on a Ray cluster."""

from __future__ import annotations

from typing import Literal

Engine = Literal["local", "ray"]


def check(engine: Engine, address: str | None) -> None:
    """Checks that a cluster is named only where it is wanted.

    Args:
        engine: What places the work.
        address: Of the cluster, HOST:PORT; None where none is named.

    Raises:
        ValueError: It is named for work on this machine.
    """
    if address is not None and engine != "ray":
        raise ValueError(
            f"--address names a Ray cluster, received --engine {engine}; give --engine ray as "
            "well, or leave --address out"
        )
