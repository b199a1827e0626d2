"""Roads from the simulator's track scripts: straight nodes and turns, command after command."""

from __future__ import annotations

import math
import re

import numpy as np

from donkey_rl.envs.simulator.path import FloatArray

DEFAULT_TURN = 10.0
"""Degrees per node before the first ``DY``."""

_WORD = re.compile(r"(S|L|R|DY) +(-?\d{1,6}(?:\.\d{1,6})?)")


def parse(commands: str) -> list[tuple[str, float]]:
    """Splits a script into commands with their numbers.

    Args:
        commands: Such as ``"S 11, DY 15.5, R 9"``: `S n` lays n nodes straight on, `L n` and
            `R n` lay n nodes that each turn to that side, `DY a` sets the turn in degrees per
            node. Commas and line ends separate.

    Raises:
        ValueError: A piece is none of these. The message is the piece.
    """
    pieces = [piece.strip() for piece in re.split(r"[,\n;]", commands) if piece.strip()]
    found = []
    for piece in pieces:
        match = _WORD.fullmatch(piece)
        if match is None or (match[1] != "DY" and not match[2].isdigit()):
            raise ValueError(piece)
        found.append((match[1], float(match[2])))
    return found


def count(commands: str) -> int:
    """Returns how many nodes a script lays."""
    return sum(int(number) for word, number in parse(commands) if word != "DY")


def lay(start: tuple[float, float], span: float, commands: str) -> FloatArray:
    """Lays the nodes of a script, by the rule of the simulator's path manager.

    For each node its place is noted, the heading turned, and a step of `span` made
    (``TrackScript`` and ``PathManager.MakeScriptedPath`` of the DonkeyCar simulator).

    Args:
        start: First node ``[x, z]`` in u; the road sets out towards +Z.
        span: Distance between nodes in u.
        commands: The script, see `parse`.

    Returns:
        ``(n, 2)`` nodes ``[x, z]`` in u.
    """
    x, z = start
    yaw, turn = 0.0, math.radians(DEFAULT_TURN)
    nodes = []
    for word, number in parse(commands):
        if word == "DY":
            turn = math.radians(number)
            continue
        change = {"S": 0.0, "L": -turn, "R": turn}[word]
        for _ in range(int(number)):
            nodes.append((x, z))
            yaw += change
            x += span * math.sin(yaw)
            z += span * math.cos(yaw)
    return np.array(nodes, dtype=np.float64).reshape(-1, 2)


def eased(nodes: FloatArray) -> FloatArray:
    """Eases a line into and out of its bends, where its curvature jumps; its ends stay.

    A spline through nodes whose curvature jumps swings past it. One step towards the neighbours'
    mean and one away from it (Taubin 1995) soften the jump; a straight line or an even bend
    stays where it is within thousandths.

    Args:
        nodes: ``(n, 2)`` points in u.
    """
    line = nodes.copy()
    for step in (0.5, -0.5):
        mean = 0.5 * (line[:-2] + line[2:])
        line[1:-1] += step * (mean - line[1:-1])
    return line
