"""`regen_road`: another random road, by the simulator's styles."""

from __future__ import annotations

import dataclasses

from donkey_rl.envs.link import commands
from donkey_rl.envs.simulator import random_road
from donkey_rl.envs.simulator.path import Curve
from donkey_rl.envs.simulator.scenery import Stripe
from donkey_rl.envs.simulator.track import START_LINE_AHEAD, Track

SCENE = "generated_road"
STYLES = ((2.0, 5.0), (6.0, 12.0), (6.0, 10.0), (6.0, 10.0), (4.5, 12.0))
"""Offset to the left of the path and half width of the road (u), by `road_style` modulo 5."""


def is_random(track: Track) -> bool:
    """Whether a track is one that `regen_road` can lay anew."""
    return track.name.split(":")[0] == SCENE


def lay(track: Track, command: commands.RegenRoad, turn_increment: float) -> Track:
    """Lays another random road.

    The same seed and increment give the same path, as in the simulator, though not the
    simulator's own, whose generator is another one. The paint keeps its distance to the nearer
    edge or to the middle.

    Args:
        track: A random road.
        command: Style and seed.
        turn_increment: Largest change of the rate of turn, degrees per node.

    Returns:
        The new track, in the colours of the old one.
    """
    first = track.nodes[0]
    nodes = random_road.walk(
        (float(first[0]), float(first[1])),
        nodes=len(track.nodes),
        turn_increment=turn_increment,
        seed=command.rand_seed % 2**32,
    )
    path = Curve(nodes, closed=False).path()
    offset, half = STYLES[command.road_style % len(STYLES)]
    edges = (-offset - half, half - offset)
    spawn = track.grid.poses[0]
    line = path.locate([spawn.x, spawn.z])[0] + START_LINE_AHEAD
    look = dataclasses.replace(
        track.look, wear=tuple((_stretched(track, edges, at), k) for at, k in track.look.wear)
    )
    return dataclasses.replace(
        track,
        nodes=nodes,
        path=path,
        road_left=edges[0],
        road_right=edges[1],
        stripes=tuple(_moved(track, edges, stripe) for stripe in track.stripes),
        start_line=float(line),
        look=look,
    )


def _stretched(track: Track, edges: tuple[float, float], lateral: float) -> float:
    """Returns where an offset lies when the road is stretched to new edges."""
    share = (lateral - track.road_left) / track.road_width
    return edges[0] + share * (edges[1] - edges[0])


def _moved(track: Track, edges: tuple[float, float], stripe: Stripe) -> Stripe:
    """Returns a stripe between new edges."""
    quarter = 0.25 * track.road_width
    middle = track.road_middle

    def place(lateral: float) -> float:
        if lateral < middle - quarter:
            return lateral + edges[0] - track.road_left
        if lateral > middle + quarter:
            return lateral + edges[1] - track.road_right
        return lateral + 0.5 * (edges[0] + edges[1]) - middle

    return dataclasses.replace(stripe, start=place(stripe.start), end=place(stripe.end))
