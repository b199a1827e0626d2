"""The centre line of a track that some other simulator has loaded.

Where the simulator answers `node_position` its path is asked for node by node. Elsewhere one lap
is driven slowly by the cross-track error, and each position is moved back by it onto the path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from donkey_rl.envs.link.reports import NodePosition, Telemetry
from donkey_rl.envs.simulator import vehicle as vehicles
from donkey_rl.errors import ConfigurationError, DonkeyRLError

FloatArray = npt.NDArray[np.float64]
Show = Callable[[int, int], None]
"""Called with what is done and what there is to do."""

_MOST_NODES = 20_000
_TRIES = 5
_SPEED = 4.0
"""Of the lap (u/s); the tightest scenes have bends of 4 u."""

_MOST_LAP_S = 2400.0
_STUCK_S = 6.0
_STEER_BY_ERROR = 0.65
_STEER_BY_RATE = 0.5
"""Steering per u, and per u/s, of cross-track error: twice the gains of the simulator's own PID
driver, so that the car swings out less where bends are tight."""

_BEYOND_END = 12.0
"""So far beyond the last node the path is known to be open (u)."""

_OVERLAP = 10.0
"""A lap is noticed to be round within this distance behind its beginning (u)."""

_RUN_IN_ERROR = 0.5
"""A car that is this near the line has found it (u)."""

_SPACING = 1.0
"""Points of a driven line are this far apart (u)."""

_SMOOTHED = 0.8
"""Each is the mean of what was driven within this distance (u)."""


class Frame(Protocol):
    """A telemetry message as a connection hands it out."""

    @property
    def telemetry(self) -> Telemetry:
        """The message."""


class Connection(Protocol):
    """What a survey needs of a `SimulatorLink`."""

    def reset(self) -> Frame:
        """Puts the car back on its start."""

    def control(self, steering: float, throttle: float, brake: float = 0.0) -> None:
        """Steers the car."""

    def next_frame(self, timeout_s: float | None = None) -> Frame:
        """Waits for the next message."""

    def node_position(self, index: int) -> NodePosition | None:
        """Asks for a node of the path."""


class Survey(NamedTuple):
    """A centre line.

    Attributes:
        points: x and z (u), in the order of driving, shape (n, 2); a closed line does not repeat
            its first point.
        closed: Whether it leads back to its beginning.
        method: `nodes` or `lap`.
        start: Where the car was put: x, z (u), yaw (rad).
        nodes: How many nodes the simulator measures its cross-track error from, if it says so.
    """

    points: FloatArray
    closed: bool
    method: Literal["nodes", "lap"]
    start: tuple[float, float, float]
    nodes: int | None


def survey(connection: Connection, show: Show, *, drive: bool = False) -> Survey:
    """Finds the centre line.

    Args:
        connection: A connection whose car has been loaded.
        show: Shows how far it is.
        drive: Whether to drive a lap even where nodes are answered.

    Raises:
        ConfigurationError: The simulator sends no positions, or neither answers `node_position`
            nor sends the cross-track error.
        LinkError: The connection failed.
        DonkeyRLError: The path or the lap came to nothing.
    """
    first = connection.reset().telemetry
    place = _place(first)
    if not drive and _node(connection, first, 0) is not None:
        points = _ask(connection, first, show)
        method: Literal["nodes", "lap"] = "nodes"
        closed = _is_closed(points)
    else:
        points, closed = _Lap(connection, first).drive(show)
        method = "lap"
    if closed and math.dist(points[0], points[-1]) < 0.05:
        points = points[:-1]
    yaw = _yaw_at(points, place) if first.angles is None else math.radians(first.angles[1])
    return Survey(points, closed, method, (*place, yaw), first.nodes)


def evened(found: Survey, reach: float) -> FloatArray:
    """Returns a line without its kinks: each point a mean of those around, by a bell curve.

    Args:
        found: The line.
        reach: Standard deviation of the bell (u).
    """
    line = np.vstack([found.points, found.points[:1]]) if found.closed else found.points
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    count = max(8, round(arc[-1] / _SPACING))
    place = np.linspace(0.0, arc[-1], count, endpoint=not found.closed)
    even = np.stack([np.interp(place, arc, line[:, axis]) for axis in (0, 1)], axis=1)
    sigma = reach / (place[1] - place[0])
    mode = "wrap" if found.closed else "nearest"
    return np.asarray(ndimage.gaussian_filter1d(even, sigma, axis=0, mode=mode))


def scale_of(telemetry: Telemetry) -> float:
    """Returns what the car's generation divides its reports by."""
    return vehicles.load("donkey_2022").report_scale if telemetry.is_of_2022 else 1.0


def _place(telemetry: Telemetry) -> tuple[float, float]:
    """Returns x and z of a car (u)."""
    if telemetry.position is None:
        raise ConfigurationError(
            "The simulator sends no positions, which a centre line is made of. Switch on "
            "'extended telemetry' there (races switch it off)."
        )
    scale = scale_of(telemetry)
    return telemetry.position[0] * scale, telemetry.position[2] * scale


def _ask(connection: Connection, first: Telemetry, show: Show) -> FloatArray:
    """Asks for all nodes; neighbours that coincide are one."""
    wanted = min(first.nodes or _MOST_NODES, _MOST_NODES)
    points: list[tuple[float, float]] = []
    for index in range(wanted):
        node = _node(connection, first, index)
        if node is None:
            if first.nodes:
                raise DonkeyRLError(
                    f"The simulator has {first.nodes} nodes and does not answer for number "
                    f"{index}. Try again, or record by driving: --drive."
                )
            break
        point = (node.position[0], node.position[2])
        if not points or math.dist(points[-1], point) > 0.02:
            points.append(point)
        show(index + 1, wanted)
    if len(points) < 8:
        raise DonkeyRLError(
            f"The simulator named {len(points)} nodes of its path; a track has 8 at least. "
            f"Record by driving: --drive."
        )
    return np.array(points)


def _node(connection: Connection, first: Telemetry, index: int) -> NodePosition | None:
    """Asks for a node, several times where a simulator that answers may have been held up."""
    for _ in range(_TRIES if first.is_of_2022 else 1):
        if (found := connection.node_position(index)) is not None:
            return found
    return None


def _is_closed(points: FloatArray) -> bool:
    spans = np.hypot(*np.diff(points, axis=0).T)
    return math.dist(points[0], points[-1]) <= 3.0 * float(np.median(spans))


def _yaw_at(points: FloatArray, place: tuple[float, float]) -> float:
    """Returns the direction of a line near a place (rad)."""
    k = int(np.hypot(*(points - place).T).argmin())
    ahead, behind = points[min(k + 1, len(points) - 1)], points[max(k - 1, 0)]
    return math.atan2(ahead[0] - behind[0], ahead[1] - behind[1])


class _Lap:
    """One slow lap along the cross-track error."""

    def __init__(self, connection: Connection, first: Telemetry) -> None:
        if first.cte is None:
            raise ConfigurationError(
                "The simulator neither answers node_position nor sends the cross-track error. "
                "Switch on 'extended telemetry' there."
            )
        self._connection = connection
        self._scale = scale_of(first)
        self._last = first
        self._last_node_at: tuple[float, int] | None = None
        self._run_in: list[tuple[float, float, float]] = []
        self._driven: list[tuple[float, float, float]] = []
        self._way = 0.0
        self._still_s = 0.0
        self._throttle = 0.0

    def drive(self, show: Show) -> tuple[FloatArray, bool]:
        """Returns the centre line and whether it is closed."""
        began = self._last.time
        rate, closed = 0.0, False
        self._connection.control(0.0, 0.0, 0.0)
        while True:
            told = self._connection.next_frame().telemetry
            rate = self._take(told, rate)
            if told.nodes:
                show(told.node or 0, told.nodes)
            if self._is_round():
                closed = True
                break
            if self._at_end(told):
                self._driven = self._run_in + self._driven
                break
            self._check(told, began)
            steering = -_STEER_BY_ERROR * (told.cte or 0.0) - _STEER_BY_RATE * rate
            self._connection.control(min(1.0, max(-1.0, steering)), self._power(told), 0.0)
        self._connection.control(0.0, 0.0, 1.0)
        return _line(np.array(self._driven), closed), closed

    def _take(self, told: Telemetry, rate: float) -> float:
        """Notes a message; returns the rate of the cross-track error (u/s)."""
        x, z = _place(told)
        elapsed = max(told.time - self._last.time, 1e-3)
        old = _place(self._last)
        moved = math.dist(old, (x, z))
        cte = told.cte if told.cte is not None else (self._last.cte or 0.0)
        fresh = (cte - (self._last.cte or 0.0)) / elapsed
        self._way += moved
        self._still_s = 0.0 if moved > 0.02 else self._still_s + elapsed
        if moved > 0.01 or not self._driven:
            self._driven.append((x, z, cte))
        if not self._run_in and (
            (abs(cte) < _RUN_IN_ERROR and self._way > 3.0) or self._way > 40.0
        ):
            # A lap begins where the car follows the line, not where it was put.
            self._run_in, self._driven, self._way = self._driven[:-1], self._driven[-1:], 0.0
        self._last = told
        # The index of the path jumps now and then, and the error with it.
        return 0.5 * rate + 0.5 * min(_SPEED, max(-_SPEED, fresh))

    def _power(self, told: Telemetry) -> float:
        """Holds the speed: a slow integral finds the throttle of any car."""
        lack = _SPEED - told.speed * self._scale
        self._throttle = min(0.6, max(0.0, self._throttle + 0.002 * lack))
        return min(0.8, max(0.0, self._throttle + 0.02 * lack))

    def _is_round(self) -> bool:
        """Whether the car is back where its lap began, going the same way."""
        if self._way < 30.0:
            return False
        first, last = np.array(self._driven[0]), np.array(self._driven[-1])
        if math.dist(first[:2], last[:2]) > 12.0:
            return False
        line = _line(np.array(self._driven), closed=False)
        if len(line) < 12:
            return False
        began, came = line[4] - line[0], line[-1] - line[-5]
        gap = line[-1] - line[0]
        along = gap @ began / np.hypot(*began)
        same = began @ came > 0.7 * np.hypot(*began) * np.hypot(*came)
        return bool(same and abs(along) < 3.0 and along > 0.0 and np.hypot(*gap) < 4.0)

    def _at_end(self, told: Telemetry) -> bool:
        """Whether an open road ends here: its last node stays the last.

        What was driven beyond that node is forgotten, since the error there is not of the road.
        """
        if told.node is None or told.nodes is None or told.node < told.nodes - 1:
            self._last_node_at = None
            return False
        if self._last_node_at is None:
            self._last_node_at = (self._way, len(self._driven))
        way, points = self._last_node_at
        if self._way - way < _BEYOND_END:
            return False
        del self._driven[points:]
        return True

    def _check(self, told: Telemetry, began: float) -> None:
        if self._still_s < _STUCK_S and told.time - began < _MOST_LAP_S:
            return
        stuck = self._still_s >= _STUCK_S
        what = "stands still" if stuck else f"has not come round in {_MOST_LAP_S:.0f} s"
        x, z = _place(told)
        raise DonkeyRLError(
            f"The lap came to nothing: after {self._way:.0f} u the car {what} at "
            f"[{x:.1f}, {z:.1f}], cross-track error {told.cte or 0.0:.1f} u, touching "
            f"'{told.hit}'. Nothing was written."
        )


def _line(driven: FloatArray, closed: bool) -> FloatArray:
    """Returns the path under positions and cross-track errors, shape (n, 3) to (m, 2).

    The error is measured across the path, whose direction is first taken from the drive, then
    from the line found.
    """
    places, errors = driven[:, :2], driven[:, 2]
    line = places
    for _ in range(3):
        direction = _directions(line)
        right = np.stack([direction[:, 1], -direction[:, 0]], axis=1)
        line = places - errors[:, None] * right
    if closed:
        line = _cut(line)
    return _even(line)


def _directions(points: FloatArray) -> FloatArray:
    """Returns the unit direction of a line at each point, over some points around."""
    reach = min(6, max(1, len(points) // 8))
    index = np.arange(len(points))
    ahead = points[np.minimum(index + reach, len(points) - 1)]
    behind = points[np.maximum(index - reach, 0)]
    step = ahead - behind
    return np.asarray(step / np.maximum(np.hypot(*step.T), 1e-9)[:, None])


def _cut(line: FloatArray) -> FloatArray:
    """Ends a lap where it passes its own beginning, which it did in its last stretch."""
    left = np.cumsum(np.hypot(*np.diff(line[::-1], axis=0).T))
    tail = len(line) - 1 - int(np.searchsorted(left, _OVERLAP))
    gaps = np.hypot(*(line[tail:] - line[0]).T)
    return line[: tail + int(gaps.argmin()) + 1]


def _even(line: FloatArray) -> FloatArray:
    """Returns the line at even distances, smoothed."""
    arc = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    count = max(2, round(arc[-1] / _SPACING) + 1)
    found = np.empty((count, 2))
    for k, place in enumerate(np.linspace(0.0, arc[-1], count)):
        reach = min(_SMOOTHED, place, arc[-1] - place)
        low, high = np.searchsorted(arc, (place - reach - 1e-9, place + reach + 1e-9))
        inner = [np.interp(p, arc, line[:, 0]) for p in (place - reach, place, place + reach)]
        outer = [np.interp(p, arc, line[:, 1]) for p in (place - reach, place, place + reach)]
        near = line[low:high]
        found[k] = (
            np.mean([*near[:, 0], *inner]),
            np.mean([*near[:, 1], *outer]),
        )
    return found
