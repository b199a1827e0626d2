"""Random roads, by the rule of the simulator's path manager."""

from __future__ import annotations

import math

import numpy as np

from donkey_rl.envs.simulator.path import FloatArray

LOOK_AHEAD = 100.0
CLEARANCE = 90.0


def walk(
    start: tuple[float, float],
    *,
    nodes: int = 1000,
    span: float = 2.0,
    turn_increment: float = 1.0,
    seed: int = 0,
) -> FloatArray:
    """Lays the nodes of a random road.

    The rate of turn per node is a random walk with steps ``uniform(-turn_increment,
    turn_increment)``. Whenever a node already laid lies within 90 u of the point 100 u ahead,
    the rate is reversed and halved, and the heading turned once more, so that the road leads
    away from itself (``PathManager.MakeRandomPath`` of the DonkeyCar simulator; NumPy's
    generator takes the place of Unity's, so the same seed gives another road than there).

    Args:
        start: First node ``[x, z]`` in u; the walk sets out towards +Z.
        nodes: Number of nodes.
        span: Distance between them in u.
        turn_increment: Largest change of the rate of turn in degrees per node.
        seed: Same seed, same road.

    Returns:
        ``(nodes, 2)`` points ``[x, z]`` in u of an open road.
    """
    changes = np.random.default_rng(seed).uniform(-turn_increment, turn_increment, nodes)
    laid = np.empty((nodes, 2))
    x, z = start
    yaw = turn = 0.0
    for node in range(nodes):
        laid[node] = x, z
        turn += math.radians(changes[node])
        yaw += turn
        gap = laid[: node + 1] - (x + LOOK_AHEAD * math.sin(yaw), z + LOOK_AHEAD * math.cos(yaw))
        if np.einsum("ij,ij->i", gap, gap).min() < CLEARANCE**2:
            turn *= -0.5
            yaw += turn
        x += span * math.sin(yaw)
        z += span * math.cos(yaw)
    return laid
