"""Which scene a simulator has loaded, told by where its car is: the protocol does not say."""

from __future__ import annotations

import math

from donkey_rl.envs.link.reports import Telemetry
from donkey_rl.envs.simulator import following, starts, track
from donkey_rl.envs.survey import scale_of
from donkey_rl.errors import DonkeyRLError

_CTE_SLACK = 1.0
"""The simulator's index may be a node behind, and these tracks are fitted (u)."""

_FARTHEST = 15.0
"""A car this far beside a path is not on it (u)."""


def scenes(telemetry: Telemetry) -> tuple[str, ...]:
    """Returns the scenes that a car at rest may be in, the likeliest first.

    The place must lie near the path, and the reported cross-track error must be that of the
    place. Random roads are all different: they are recognised by their number of nodes alone.
    """
    if telemetry.position is None:
        return ()
    scale = scale_of(telemetry)
    x, z = telemetry.position[0] * scale, telemetry.position[2] * scale
    roads = [track.load(name) for name in track.names()]
    gaps = {road.name: _gap(road, x, z, telemetry) for road in roads}
    fitting = [road for road in roads if gaps[road.name] <= _CTE_SLACK]
    # Layouts that have the same number of nodes are rarely two.
    same = [road for road in fitting if telemetry.nodes == len(road.nodes)]
    return tuple(road.name for road in sorted(same or fitting, key=lambda road: gaps[road.name]))


def _gap(road: track.Track, x: float, z: float, told: Telemetry) -> float:
    """Returns how badly a track fits (u), infinite if it does not at all."""
    if not road.closed:
        return 0.0 if told.nodes == len(road.nodes) else math.inf
    arc = starts.nearest_arc(road, x, z)
    _, _, lateral, _ = following.locate(following.route(road), x, z, arc)
    if abs(lateral) > _FARTHEST:
        return math.inf
    return 0.0 if told.cte is None else abs(told.cte - lateral)


def describe(telemetry: Telemetry) -> str:
    """Returns the scene for a person: a name, some names, or that it is not known."""
    if telemetry.position is None:
        return "not to be told: no positions are sent"
    try:
        found = scenes(telemetry)
    except DonkeyRLError:
        found = ()
    if not found:
        return "none of the known ones"
    return found[0] if len(found) == 1 else f"{found[0]} (or {', '.join(found[1:3])})"
