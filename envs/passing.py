"""An expert that passes slower cars: the pursuit of a line beside them, where there is room.

What it does depends on the moment alone, so that others can learn it: where the cars around are,
how fast they are, how they go on along the fastest line, and what the road leaves beside them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import reference
from donkey_rl.envs.pursuit import Moving, Pursuit
from donkey_rl.envs.simulator import physics, stepping
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

CLEAR = 2.1
"""Distance between the lines of two cars that pass (u); their bodies are 1 u wide."""

_ENOUGH, _TOUCHING = 1.8, 1.45
"""Lines that keep this apart (u) need not change; nearer than the other one keeps behind."""

_BEHIND, _GONE = -3.0, -8.0
"""A car moves back while the other falls behind from the one to the other (u)."""

_BESIDE = 5.0
"""One who is passed must leave room from this way ahead (u) until it is `_BEHIND`."""

_ALONGSIDE = 2.2
"""Nobody changes to another side of a car that is nearer along the road than this (u)."""

_LATE = 8.0
"""Who is beside the line of a car nearer than this (u) stays there, room or not."""

_NEAR, _NEAR_S = 6.0, 0.6
_FAR, _FAR_S = 12.0, 1.5
"""A car moves over while it comes up from the farther to the nearer: u, and s of the speed by
which it comes up."""

_REACH = 0.8
"""A car steers for a place no farther beside it than this (u): tyres that steer cannot brake."""

_GAP, _HEADWAY_S = 3.5, 0.1
"""Distance that is kept behind a car that cannot be passed: u, and s of its speed."""

_LEAST_LEAD = 1.0
"""Who is farther ahead than this (u) can be kept behind."""

_BRAKING = 0.7
"""Share that is planned with of the deceleration that the engine has."""

_DELAY_S = 0.15
"""Until a car brakes: a command holds for a step, and the speed's controller takes some time."""

_TIMES = np.geomspace(0.2, 9.0, 16)
"""At which one must not have driven into a car ahead (s)."""

_LEAST_GAIN = 0.08
"""Passing takes no longer than with so much gained for each u driven."""

_FARTHEST = 60.0
"""Nobody looks farther ahead (u)."""

MARGIN = 1.0
"""Those who keep beside the line keep this far from the road's edges (u)."""

_EDGE, _NARROW = 1.7, 1.5
"""The car's middle is steered so far from the road's edges (u); to pass somebody the less is
enough."""

_SOON = np.linspace(0.0, 36.0, 13)
"""Ways ahead at which whoever is beside the line must be on the road (u)."""

_SETTLING_S = 0.55
"""Somebody beside the line begins to come back this long before the road leaves no room (s)."""

_AROUND = 20.0
"""Who has nobody nearer than this (u) goes straight back to the line."""

_PARTS = np.linspace(0.0, 1.0, 6)
"""Where to look along a way."""

_EARLY = 0.85
"""Braking is as hard as at so much of the speed that one has, the rest being that of the other:
most of the way is driven fast."""


class Others(NamedTuple):
    """Other cars around each of N cars.

    Attributes:
        lead: How far ahead they are along the path (u), negative behind, shape (N, K).
        arc: Arc length where they are (u), shape (N, K).
        lateral: Offset from the path (u), shape (N, K).
        speed: Along their heading (u/s), shape (N, K).
    """

    lead: FloatArray
    arc: FloatArray
    lateral: FloatArray
    speed: FloatArray


class _Met(NamedTuple):
    """What the cars around will do while they are passed, shape (N, K) each.

    Attributes:
        lead: How far ahead they are along the path (u).
        share: Their speed by that of the fastest line where they are.
        counts: Whether one has to drive around them.
        left: Lowest offset from the own line where they will be met (u).
        right: Highest offset there (u).
        room_left: How far left of the own line the road may be used there (u).
        room_right: How far right (u).
        weight: How far one has moved over for them, from 0 to 1.
    """

    lead: FloatArray
    share: FloatArray
    counts: Flags
    left: FloatArray
    right: FloatArray
    room_left: FloatArray
    room_right: FloatArray
    weight: FloatArray

    def apart(self, places: FloatArray) -> FloatArray:
        """Returns how far places beside the line, (N, C), keep from theirs (u), (N, C, K)."""
        at = places[:, :, None]
        return np.maximum(at - self.right[:, None], self.left[:, None] - at)


class Passing:
    """Drives any car along the pursuit's line, and around slower ones."""

    def __init__(self, expert: Pursuit, road: Track) -> None:
        """Chooses the line.

        Args:
            expert: Who drives along it.
            road: The track.
        """
        self._expert, self._road = expert, road

    def act(
        self,
        cars: Moving,
        others: Others,
        *,
        pace: FloatArray | float = 1.0,
        aside: FloatArray | float = 0.0,
    ) -> npt.NDArray[np.float32]:
        """Returns steering and throttle in [-1, 1] for all cars, shape (N, 2).

        Args:
            cars: Those to drive.
            others: The cars around each.
            pace: As in `Pursuit.act`.
            aside: As in `Pursuit.act`, where nobody is near.
        """
        arc = cars.sensed[:, stepping.ARC]
        line = self._expert.reference.at(arc)
        free = np.maximum(pace * line[:, reference.FORWARD], 1.0)
        usual = np.broadcast_to(np.asarray(aside, np.float64), free.shape)
        now = cars.sensed[:, stepping.LATERAL] - line[:, reference.LATERAL]
        met = self._meet(arc, others, free, free / line[:, reference.FORWARD])
        wanted, target, found = _place(met, now, usual)
        left, right = self._soon(cars, now, usual)
        near = (np.abs(met.lead) < _AROUND).any(axis=1)
        place = np.where(met.counts.any(axis=1), wanted, usual)
        place = np.where(near, np.clip(place, now - _REACH, now + _REACH), place)
        place = np.clip(place, left, right)
        # Who would drive behind another one to the other side of it is not clear of it.
        least, most = np.sort([now, np.clip(target, left, right)], axis=0)[..., None]
        clear = np.maximum(least - met.right, met.left - most) >= _TOUCHING
        behind = np.where(found, _LEAST_LEAD, 0.0)[:, None]
        held = (met.lead > behind) & (met.lead < _FARTHEST) & ~(clear & found[:, None])
        allowed = np.where(held, self._allowed(cars, others, met.share), np.inf)
        speed = np.minimum(free, allowed.min(axis=1))
        return self._expert.act(cars, pace=speed / line[:, reference.FORWARD], aside=place)

    def _meet(self, arc: FloatArray, others: Others, free: FloatArray, pace: FloatArray) -> _Met:
        """Foresees where the cars around will be met.

        Args:
            arc: Where the own cars are (u), shape (N,).
            others: The cars around each.
            free: Speed that the own cars would drive at (u/s), shape (N,).
            pace: The same by that of the line, shape (N,).
        """
        lead, fastest = others.lead, self._expert.fastest
        theirs = fastest.at(others.arc)
        share = others.speed / np.maximum(theirs[..., reference.FORWARD], 1.0)
        share = np.clip(share, 0.0, 1.2)
        # What is gained of each u driven; both are faster and slower at the same places.
        gain = np.maximum(1.0 - share / pace[:, None], _LEAST_GAIN)
        begin, end = (np.clip((lead - to) / gain, 0.0, _FARTHEST) for to in (_BESIDE, _BEHIND))
        arcs = (arc[:, None] + begin)[..., None] + (end - begin)[..., None] * _PARTS
        line = self._expert.reference.at(arcs)[..., reference.LATERAL]
        offset = others.lateral - theirs[..., reference.LATERAL]
        path = fastest.at(arcs)[..., reference.LATERAL]
        low = np.minimum(self._road.road_left + MARGIN, path)
        high = np.maximum(self._road.road_right - MARGIN, path)
        beside = np.clip(path + offset[..., None], low, high) - line
        closing = np.maximum(free[:, None] - others.speed, 0.0)
        near, far = _NEAR + _NEAR_S * closing, _FAR + _FAR_S * closing
        ahead = np.clip((far - lead) / (far - near), 0.0, 1.0)
        weight = np.minimum(ahead, np.clip((lead - _GONE) / (_BEHIND - _GONE), 0.0, 1.0))
        counts = (weight > 0.0) & ((share < pace[:, None] - 0.03) | (np.abs(lead) < _ALONGSIDE))
        room_left, room_right = self._room(line)
        return _Met(
            lead, share, counts, beside.min(axis=-1), beside.max(axis=-1), room_left, room_right,
            weight,
        )  # fmt: skip

    def _soon(
        self, cars: Moving, now: FloatArray, usual: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Returns the lowest and the highest place to steer for (u beside the line), (N,) each.

        The line crosses the road from edge to edge, and a car beside it takes a while to get
        back: it steers by so much of what it must come back as it can settle until then.

        Args:
            cars: Those to drive.
            now: Where they are (u beside the line).
            usual: Where they would drive (u); they always may.
        """
        arcs = cars.sensed[:, stepping.ARC, None] + _SOON
        line = self._expert.reference.at(arcs)[..., reference.LATERAL]
        settled = _SETTLING_S * np.maximum(cars.motion[:, physics.FORWARD], 1.0)[:, None]
        part = settled / np.maximum(_SOON, settled)
        bounds = []
        for side, edge in ((-1.0, self._road.road_left), (1.0, self._road.road_right)):
            room = np.maximum(side * (edge - line) - _EDGE, side * usual[:, None])
            beyond = np.maximum(side * now[:, None] - room, 0.0)
            back = side * now[:, None] - part * beyond
            most = np.where(settled >= _SOON, room, np.inf)
            most = np.minimum(most, np.where(beyond > 0.0, back, np.inf))
            bounds.append(side * most.min(axis=1))
        middle = 0.5 * (bounds[0] + bounds[1])
        return np.minimum(bounds[0], middle), np.maximum(bounds[1], middle)

    def _room(self, line: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns how far left and right of the line one may pass at all of the last axis."""
        left = (self._road.road_left + _NARROW - line).max(axis=-1)
        right = (self._road.road_right - _NARROW - line).min(axis=-1)
        return left, right

    def _allowed(self, cars: Moving, others: Others, share: FloatArray) -> FloatArray:
        """Returns speeds from which one can brake behind the cars ahead (u/s), shape (N, K).

        They go on at their share of the fastest line's speed. Who brakes by `b` against a drag of
        ``k v`` has driven ``v E - b (t - E) / k`` after a time t, ``E = (1 - exp(-k t)) / k``.
        """
        arc, speed = cars.sensed[:, stepping.ARC], cars.motion[:, physics.FORWARD]
        lead = np.clip(others.lead, 0.0, _FARTHEST)
        between = arc[:, None, None] + lead[..., None] * _PARTS
        line = self._expert.reference.at(between)
        # Way on the own line, not on the path.
        ways = lead * (1.0 / line[..., reference.ADVANCE]).mean(axis=-1)
        gap = ways - _GAP - _HEADWAY_S * np.maximum(others.speed, 0.0)
        driven = np.maximum(_EARLY * speed[:, None] + (1.0 - _EARLY) * others.speed, 0.0)
        driven = np.minimum(driven[..., None], line[..., reference.FORWARD])
        bend = np.abs(line[..., reference.RATE] / line[..., reference.FORWARD])
        brakes = self._expert.braking(driven, bend * driven**2)
        # Bends leave the least to brake with, and take up a part of the way.
        brake = 0.5 * _BRAKING * (brakes.mean(axis=-1) + brakes.min(axis=-1))
        drag = self._expert.drag
        place, room = others.arc.copy(), gap.copy()
        allowed = np.full(lead.shape, np.inf)
        for time, step in zip(_TIMES, np.diff(_TIMES, prepend=0.0), strict=True):
            rows = self._expert.fastest.at(place)
            its = np.where(share > 0.0, share * rows[..., reference.FORWARD], 0.0)
            room += its * step
            place += its * rows[..., reference.ADVANCE] * step
            braked = time - _DELAY_S
            eased = (1.0 - np.exp(-drag * braked)) / drag
            most = (room + brake * (braked - eased) / drag) / (_DELAY_S + eased)
            allowed = np.minimum(allowed, most)
        least = np.maximum(others.speed + 1.5 * np.minimum(gap, 0.0), 0.1)
        return np.asarray(np.maximum(allowed, least), np.float64)


def _place(met: _Met, now: FloatArray, usual: FloatArray) -> tuple[FloatArray, FloatArray, Flags]:
    """Returns where to drive, where to pass (u beside the line), and whether there is room, (N,).

    Args:
        met: The cars around.
        now: Where the own cars are (u beside the line).
        usual: Where they would drive (u).
    """
    places = np.concatenate([usual[:, None], met.left - CLEAR, met.right + CLEAR], axis=1)
    at, here = places[:, :, None], now[:, None, None]
    fits = met.apart(places) >= _ENOUGH
    fits[:, 1:] &= (at[:, 1:] >= met.room_left[:, None]) & (at[:, 1:] <= met.room_right[:, None])
    middle = 0.5 * (met.left + met.right)[:, None]
    across = (at - middle) * (here - middle) < 0.0
    fits &= ~(across & (np.abs(met.lead) < _ALONGSIDE)[:, None])
    free: Flags = np.all(fits | ~met.counts[:, None], axis=2)
    way = 2.0 * np.abs(places - now[:, None]) + np.abs(places - usual[:, None])
    # Whose usual place is free drives there.
    way[:, 0] = -1.0
    chosen = np.where(free, way, np.inf).argmin(axis=1)
    found: Flags = np.any(free, axis=1)
    rows = np.arange(len(now))
    wanted = places[rows, chosen]
    blocked = met.counts & (met.apart(usual[:, None])[:, 0] < _ENOUGH)
    weight = np.where(blocked, met.weight, 0.0).max(axis=1, initial=0.0)
    # Without room one stays beside a car that one is beside: it is too late to get behind it.
    apart = met.apart(now[:, None])[:, 0]
    beside = met.counts & (apart >= _TOUCHING) & (np.abs(met.lead) < _LATE)
    k = np.where(beside, np.abs(met.lead), np.inf).argmin(axis=1)
    side = np.where(
        now > met.right[rows, k], met.right[rows, k] + CLEAR, met.left[rows, k] - CLEAR
    )
    kept = np.where(beside.any(axis=1), side, usual)
    target = np.asarray(np.where(found, wanted, kept), np.float64)
    return np.asarray(usual + weight * (target - usual), np.float64), target, found
