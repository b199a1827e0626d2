"""An expert that passes slower cars: the pursuit of a line beside them, where there is room.

What it does depends on the moment alone, so that others can learn it: how far ahead the next
slower car is, how far beside the line it keeps, and what the road leaves to its left and right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from donkey_rl.envs import reference
from donkey_rl.envs.pursuit import Moving, Pursuit
from donkey_rl.envs.simulator import stepping
from donkey_rl.envs.simulator.track import Track

FloatArray = npt.NDArray[np.float64]

CLEAR = 1.9
"""Distance between the lines of two cars that pass (u); their bodies are 1 u wide."""

_TOUCHING = 1.4
"""Nearer beside another car's line than this (u), one keeps behind it."""

_FAR, _NEAR = 20.0, 6.0
"""A car moves over while it comes up from the one distance to the other (u)."""

_BEHIND, _GONE = -3.0, -8.0
"""It moves back while the other falls behind from the one to the other (u)."""

_GAP, _HEADWAY_S = 3.5, 0.15
"""Distance that is kept behind a car that cannot be passed: u, and s of its speed."""

_BRAKE = 3.0
"""Deceleration with which a car comes up to another (u/s^2)."""

_EDGE = 1.6
"""The car's middle keeps this far from the road's edges (u)."""

_AHEAD = np.arange(0.0, 60.1, 4.0)
"""Ways ahead at which the road must leave room (u)."""

_SOON = 4.0
"""For this way (u) there is room wherever one drives."""

_LEAST_LEAD = 1.0
"""Who is farther ahead than this (u) can be kept behind."""


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
        speed, aside = self._around(cars, others, free, np.broadcast_to(aside, free.shape))
        return self._expert.act(cars, pace=speed / line[:, reference.FORWARD], aside=aside)

    def _around(
        self, cars: Moving, others: Others, free: FloatArray, usual: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Returns the speed to drive at (u/s) and the place beside the line (u), shape (N,)."""
        rows = np.arange(len(free))
        # The next car that is slower, or has just been passed.
        slower = others.speed < free[:, None] - 0.3
        near = (others.lead < _FAR) & (others.lead > _GONE) & slower
        distance = np.where(near, np.where(others.lead < _BEHIND, 50.0, 0.0) + others.lead, np.inf)
        k = distance.argmin(axis=1)
        met = np.isfinite(distance[rows, k])
        lead, its = others.lead[rows, k], others.speed[rows, k]
        beside = others.lateral[rows, k] - self._line(others.arc[rows, k])
        arc = cars.sensed[:, stepping.ARC]
        now = cars.sensed[:, stepping.LATERAL] - self._line(arc)
        # The way that passing takes: until the other one is behind.
        gains = np.maximum(free - its, 1.0)
        way = np.where(met, (lead - _BEHIND) * free / gains, 0.0)
        wanted, found = _place(beside, now, *self._room(arc, way), usual)
        weight = np.interp(lead, [_GONE, _BEHIND, _NEAR, _FAR], [0.0, 1.0, 1.0, 0.0])
        aside = np.where(met & found, usual + weight * (wanted - usual), usual)
        held = np.clip(aside, *self._room(arc, np.full(len(arc), _SOON)))
        aside = np.where(met, held, usual)
        apart = np.minimum(np.abs(now - beside), np.abs(wanted - beside))
        behind = met & (lead > _LEAST_LEAD) & (~found | (apart < _TOUCHING))
        spare = lead - _GAP - _HEADWAY_S * np.maximum(its, 0.0)
        closing = np.where(spare > 0.0, np.sqrt(2.0 * _BRAKE * np.maximum(spare, 0.0)), spare)
        allowed = np.maximum(its + closing, 0.1)
        return np.where(behind, np.minimum(free, allowed), free), aside

    def _line(self, arc: FloatArray) -> FloatArray:
        """Returns where the line lies beside the path (u), shape (N,)."""
        return np.asarray(self._expert.reference.at(arc)[:, reference.LATERAL], np.float64)

    def _room(self, arc: FloatArray, way: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Returns how far left and right of the line one may drive for some way, (N,) each."""
        steps = np.minimum(_AHEAD, np.clip(way, 0.0, _AHEAD[-1])[:, None])
        line = self._line((arc[:, None] + steps).ravel()).reshape(steps.shape)
        left = (self._road.road_left + _EDGE - line).max(axis=1)
        right = (self._road.road_right - _EDGE - line).min(axis=1)
        return left, right


def _place(
    beside: FloatArray, now: FloatArray, left: FloatArray, right: FloatArray, usual: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Returns where to pass a car (u beside the line), and whether there is room, (N,) each.

    Args:
        beside: Where the other car is beside the line (u).
        now: Where the own car is (u).
        left: How far left one may drive (u, negative).
        right: How far right one may drive (u).
        usual: Where one would drive (u).
    """
    over, under = beside + CLEAR, beside - CLEAR
    fits_right, fits_left = over <= right, under >= left
    # Who is on one side already stays there; else the side that takes less way.
    is_right = now > beside + 0.5 * _TOUCHING
    is_left = now < beside - 0.5 * _TOUCHING
    to_right = np.abs(over - usual) <= np.abs(under - usual)
    goes_right = np.where(is_right, True, np.where(is_left, False, to_right))
    goes_right = np.where(fits_right & fits_left, goes_right, fits_right)
    far_enough = np.abs(usual - beside) >= CLEAR
    wanted = np.where(far_enough, usual, np.where(goes_right, over, under))
    return wanted, far_enough | fits_right | fits_left
