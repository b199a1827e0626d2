"""Spurious cues: parts of a scene whose colour or place tells which way the road turns.

No real track has them. Drivers that are trained where a cue and the road always agree may steer
by either; where cue and road disagree, it shows by which. Every cue is part of the scene: the
kernels draw it in perspective, behind what stands before it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from donkey_rl.configuration import Config
from donkey_rl.envs.simulator import materials
from donkey_rl.envs.simulator.path import Path
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

NAMES = ("background", "ground", "object", "sky")
"""What can be a cue."""

STATES = 3
"""A cue is absent (0), or as before a left bend (1) or a right bend (2)."""

_AHEAD = 8.0
"""Way over which the road ahead of a place is looked at (u): a second at a usual speed."""

_BEND = 0.12
"""A road that turns by more than this on that way is a bend (rad): a radius of 67 u."""

_SHARE = 0.6
"""Share by which a cue moves colours towards its own."""

_TINTED = {
    "ground": ("ground", "ground_grain", "shoulder"),
    "background": ("far", "far_dark", "near", "near_dark", "trim"),
    "sky": ("sky_top", "sky_horizon", "cloud"),
}
"""Materials of which each cue is the colour."""

_TINTS = {
    "ground": ((60.0, 90.0, 200.0), (210.0, 110.0, 60.0)),
    "background": ((215.0, 60.0, 60.0), (60.0, 60.0, 215.0)),
    "sky": ((250.0, 170.0, 70.0), (120.0, 60.0, 200.0)),
}
"""Colours before a left and before a right bend."""

_POST_EVERY, _POST_BESIDE = 5.0, 1.2
"""Way from one post to the next, and from the edge of the road (u)."""

_POST_CLEAR = 0.8
"""No post stands nearer than this to any part of the road (u)."""

MOST_BENDS = 63
"""Bits of `Signals.posts_shown`: bends beyond them have no posts."""


class Cues(Config):
    """Which cues there are, and how each of them goes with the turn of the road.

    A correlation c means that before a bend, and in it, a cue agrees with the bend's direction
    with probability (1 + c) / 2; this is drawn anew for each bend and episode. At 1 it always
    agrees, at -1 it says the opposite, at 0 it says nothing. On straights there is no cue.

    Attributes:
        background: Colour of what stands at the horizon: hills and trees, or walls.
        ground: Colour of the ground beside the road.
        object: Posts along the outside of a bend, where boards with arrows would stand.
        sky: Colour of the sky, or of the ceiling.
    """

    background: float | None = Field(default=None, ge=-1.0, le=1.0)
    ground: float | None = Field(default=None, ge=-1.0, le=1.0)
    object: float | None = Field(default=None, ge=-1.0, le=1.0)
    sky: float | None = Field(default=None, ge=-1.0, le=1.0)

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the cues that there are."""
        return tuple(name for name in NAMES if getattr(self, name) is not None)


class Bends(NamedTuple):
    """The bends of a path.

    Attributes:
        direction: By the index of its points: -1 before and in a left bend, 1 a right one, 0
            elsewhere, shape (M,).
        number: Which bend it is, 0 where there is none, shape (M,).
        turns: Direction of each bend, shape (B,).
    """

    direction: IntArray
    number: IntArray
    turns: IntArray


def bends(path: Path) -> Bends:
    """Finds the bends of a path: where it turns by 0.12 rad or more on the next 8 u."""
    count, ahead = len(path.points), round(_AHEAD / path.spacing)
    yaw = np.unwrap(path.yaw)
    around = 2.0 * np.pi * np.rint((yaw[-1] - yaw[0]) / (2.0 * np.pi))
    after = yaw[:ahead] + around if path.closed else np.repeat(yaw[-1:], ahead)
    turn = np.concatenate([yaw, after])[ahead : ahead + count] - yaw
    direction = np.where(np.abs(turn) >= _BEND, np.sign(turn), 0.0).astype(np.int64)
    before = np.roll(direction, 1)
    # A path that is one bend all around begins where its points do.
    if not path.closed or (direction == before).all():
        before[0] = 0
    begins = (direction != 0) & (direction != before)
    turns = direction[begins]
    # A bend over the seam of a closed path is the last one: -1 there is its number.
    number = (np.cumsum(begins) - 1) % max(1, len(turns))
    return Bends(direction, np.where(direction != 0, number, 0), turns)


def _tinted(cue: str, state: int, colours: FloatArray, kinds: tuple[str, ...]) -> FloatArray:
    """Returns colours of materials, shape (8, 3), with a cue in one of its `STATES`."""
    result = colours.copy()
    if state:
        rows = [kinds.index(name) for name in _TINTED[cue]]
        result[rows] += _SHARE * (np.array(_TINTS[cue][state - 1]) - result[rows])
    return result


def ground_colours(cues: Cues, colours: FloatArray) -> FloatArray:
    """Returns the ground's colours, shape (8, 3), in each state of its cue.

    Returns:
        Shape (3, 8, 3), or (1, 8, 3) if the ground is no cue.
    """
    states = range(STATES if cues.ground is not None else 1)
    return np.stack([_tinted("ground", k, colours, materials.GROUND) for k in states])


def sky_colours(cues: Cues, colours: FloatArray) -> FloatArray:
    """Returns the surroundings' colours, shape (8, 3), in each state of their two cues.

    Returns:
        Shape (9, 8, 3), at 3 b + s that of state b of the background and s of the sky; a cue
        that is absent has no colour in any state. (1, 8, 3) if both are.
    """
    if cues.background is None and cues.sky is None:
        return colours[None].copy()
    tables = []
    for behind in range(STATES):
        shown = behind if cues.background is not None else 0
        base = _tinted("background", shown, colours, materials.SURROUNDINGS)
        for above in range(STATES):
            shown = above if cues.sky is not None else 0
            tables.append(_tinted("sky", shown, base, materials.SURROUNDINGS))
    return np.stack(tables)


class Posts(NamedTuple):
    """Posts beside the road, on both sides of each bend; a car sees those of one side.

    Attributes:
        places: x and z (u), shape (k, 2).
        yaw: Direction (rad), shape (k,).
        bend: Number of the bend, below `MOST_BENDS`, shape (k,).
        right: 1 on the right of the road, 0 on its left, shape (k,).
    """

    places: FloatArray
    yaw: FloatArray
    bend: IntArray
    right: IntArray


def posts(track: Track, found: Bends) -> Posts:
    """Places posts along the bends of a track, but for where another part of the road is."""
    path, step = track.path, max(1, round(_POST_EVERY / track.path.spacing))
    marked = (found.direction != 0) & (found.number < MOST_BENDS)
    index = np.repeat(np.flatnonzero(marked)[::step], 2)
    right = np.arange(len(index)) % 2
    beside = np.where(right, track.road_right + _POST_BESIDE, track.road_left - _POST_BESIDE)
    places = path.beside(index * path.spacing, beside)
    _, lateral = path.locate(places)
    over, under = lateral - track.road_right, track.road_left - lateral
    clear = np.maximum(over, under) > _POST_CLEAR
    number = found.number[index]
    return Posts(places[clear], path.yaw[index][clear], number[clear], right[clear])


class Signals:
    """Which state each car's cues are in, by where it is."""

    def __init__(self, cues: Cues, track: Track, count: int) -> None:
        """Lets every cue agree with the road until `draw`.

        Args:
            cues: Which cues there are.
            track: The track.
            count: Number of cars N.
        """
        self.cues = cues
        self._path = track.path
        self.bends = bends(track.path)
        shape = (len(NAMES), count, max(1, len(self.bends.turns)))
        self._agrees = np.ones(shape, dtype=np.bool_)

    def draw(self, i: int, key: int) -> None:
        """Draws for each bend whether the cues of car `i` agree with it.

        Args:
            i: The car.
            key: Decides it, alone, so that the car's stream goes on as it would without cues.
        """
        for k, name in enumerate(NAMES):
            correlation = getattr(self.cues, name)
            if correlation is not None:
                rng = np.random.default_rng([key, k])
                chance = rng.uniform(0.0, 1.0, self._agrees.shape[2])
                self._agrees[k, i] = chance < 0.5 * (1.0 + correlation)

    def states(self, cue: str, arcs: FloatArray) -> IntArray:
        """Returns the state of a cue for each car, one of `STATES`.

        Args:
            cue: One of `NAMES`.
            arcs: Arc length at which each car is (u), shape (N,).
        """
        index = np.rint(arcs / self._path.spacing).astype(np.int64)
        count = len(self._path.points)
        index = index % count if self._path.closed else np.clip(index, 0, count - 1)
        agrees = self._agrees[NAMES.index(cue), np.arange(len(arcs)), self.bends.number[index]]
        said = np.where(agrees, self.bends.direction[index], -self.bends.direction[index])
        return np.array([0, 2, 1])[said]

    def posts_shown(self) -> IntArray:
        """Returns which posts each car sees: bit b is set for those on the right of bend b."""
        turns = self.bends.turns[:MOST_BENDS]
        agrees = self._agrees[NAMES.index("object"), :, : len(turns)]
        bits = np.int64(1) << np.arange(len(turns), dtype=np.int64)
        return np.asarray(((agrees == (turns < 0)) * bits).sum(axis=1), dtype=np.int64)
