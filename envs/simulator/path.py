"""The centre line of a road: a smooth curve cut into pieces of equal arc length."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt
from scipy import interpolate, spatial

FloatArray = npt.NDArray[np.float64]

SPACING = 0.5
_PIECES_PER_SPAN = 48


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """A centre line at uniform arc length.

    Attributes:
        points: ``(M, 2)`` ground points ``[x, z]`` in u. A closed path does not repeat its first.
        yaw: ``(M,)`` direction of the tangent in rad, clockwise from +Z seen from above.
        curvature: ``(M,)`` in 1/u, positive where the path turns right.
        spacing: Arc length between neighbours in u.
        closed: Whether the last point leads back to the first.
    """

    points: FloatArray
    yaw: FloatArray
    curvature: FloatArray
    spacing: float
    closed: bool

    @property
    def length(self) -> float:
        """Arc length in u."""
        return self.spacing * (len(self.points) - (0 if self.closed else 1))

    def at(self, s: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Interpolates the path.

        Args:
            s: Arc length in u, any shape. A closed path repeats, an open one stops at its ends.

        Returns:
            x and z in u and yaw in rad, of the shape of ``s``.
        """
        count = len(self.points)
        index = np.asarray(s, dtype=np.float64) / self.spacing
        index = np.mod(index, count) if self.closed else np.clip(index, 0.0, count - 1.0)
        first = np.minimum(index.astype(np.int64), count - (1 if self.closed else 2))
        part = index - first
        second = (first + 1) % count
        x, z = (
            self.points[first, axis] * (1.0 - part) + self.points[second, axis] * part
            for axis in (0, 1)
        )
        turn = np.mod(self.yaw[second] - self.yaw[first] + np.pi, 2.0 * np.pi) - np.pi
        return x, z, self.yaw[first] + part * turn

    def beside(self, s: npt.ArrayLike, lateral: npt.ArrayLike) -> FloatArray:
        """Returns the ground points at a distance to the right of the path.

        Args:
            s: Arc length in u.
            lateral: Offset in u, positive to the right, broadcast against ``s``.

        Returns:
            ``(..., 2)`` points ``[x, z]`` in u.
        """
        x, z, yaw = self.at(s)
        offset = np.asarray(lateral, dtype=np.float64)
        return np.stack([x + offset * np.cos(yaw), z - offset * np.sin(yaw)], axis=-1)

    def locate(self, points: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Projects ground points onto the nearest part of the path, whichever branch that is.

        On a path that crosses itself this is no measure of progress: a car between two branches
        must be followed along its own one.

        Args:
            points: ``(..., 2)`` points ``[x, z]`` in u.

        Returns:
            Arc length and lateral offset (positive to the right) in u, each ``(...)``.
        """
        where = np.asarray(points, dtype=np.float64)
        index = np.asarray(self.tree.query(where)[1], dtype=np.int64)
        gap = where - self.points[index]
        yaw = self.yaw[index]
        ahead = gap[..., 0] * np.sin(yaw) + gap[..., 1] * np.cos(yaw)
        # At a radius of 1 / curvature, a step across the end of one piece is longer or shorter
        # than the arc it stands for, by the ratio of the two radii.
        right = gap[..., 0] * np.cos(yaw) - gap[..., 1] * np.sin(yaw)
        ahead = ahead / np.maximum(1.0 - right * self.curvature[index], 0.2)
        s = index * self.spacing + np.clip(ahead, -self.spacing, self.spacing)
        s = np.mod(s, self.length) if self.closed else np.clip(s, 0.0, self.length)
        x, z, yaw = self.at(s)
        lateral = (where[..., 0] - x) * np.cos(yaw) - (where[..., 1] - z) * np.sin(yaw)
        return np.asarray(s, dtype=np.float64), lateral

    def clearance(self, points: npt.ArrayLike) -> FloatArray:
        """Returns the distance in u from each of ``(..., 2)`` points to the nearest path point."""
        distance = self.tree.query(np.asarray(points, dtype=np.float64))[0]
        return np.asarray(distance, dtype=np.float64)

    @functools.cached_property
    def tree(self) -> spatial.KDTree:
        """A search tree over ``points``."""
        return spatial.KDTree(self.points)

    def mirrored(self) -> Path:
        """Returns the image of the path under x -> -x, driven in the same order."""
        return Path(
            points=self.points * np.array([-1.0, 1.0]),
            yaw=-self.yaw,
            curvature=-self.curvature,
            spacing=self.spacing,
            closed=self.closed,
        )


class Curve:
    """A cubic spline through waypoints, read by arc length.

    The parameter of the spline is the length of the chords. Closed curves are periodic, so that
    direction and curvature are continuous where the last waypoint meets the first.

    >>> square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    >>> round(Curve(square, closed=True).length, 1)
    4.4
    """

    def __init__(self, waypoints: FloatArray, *, closed: bool) -> None:
        """Fits the spline.

        Args:
            waypoints: ``(n, 2)`` points ``[x, z]`` in u; the first is not repeated at the end.
            closed: Whether the curve returns to its first waypoint.
        """
        knots = np.vstack([waypoints, waypoints[:1]]) if closed else waypoints
        chord = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(knots, axis=0).T))])
        self._closed = closed
        self._spline = interpolate.CubicSpline(
            chord, knots, bc_type="periodic" if closed else "natural"
        )
        fraction = np.arange(_PIECES_PER_SPAN) / _PIECES_PER_SPAN
        spans = chord[:-1, None] + np.diff(chord)[:, None] * fraction
        self._parameter = np.append(spans.ravel(), chord[-1])
        pieces = np.hypot(*np.diff(self._spline(self._parameter), axis=0).T)
        self._arc = np.concatenate([[0.0], np.cumsum(pieces)])

    @property
    def length(self) -> float:
        """Arc length in u."""
        return float(self._arc[-1])

    def nodes(self, count: int) -> FloatArray:
        """Returns ``(count, 2)`` points at uniform arc length, the first one at the start."""
        return np.asarray(self._spline(self._parameters(count)), dtype=np.float64)

    def path(self, spacing: float = SPACING) -> Path:
        """Cuts the curve into pieces of nearly ``spacing`` u that fit its length exactly."""
        pieces = max(8, round(self.length / spacing))
        parameter = self._parameters(pieces if self._closed else pieces + 1)
        dx, dz = self._spline(parameter, 1).T
        ddx, ddz = self._spline(parameter, 2).T
        return Path(
            points=np.ascontiguousarray(self._spline(parameter), dtype=np.float64),
            yaw=np.asarray(np.arctan2(dx, dz), dtype=np.float64),
            curvature=np.asarray((ddx * dz - dx * ddz) / np.hypot(dx, dz) ** 3, dtype=np.float64),
            spacing=self.length / pieces,
            closed=self._closed,
        )

    def _parameters(self, count: int) -> FloatArray:
        """Returns the spline parameters of ``count`` points at uniform arc length."""
        s = np.linspace(0.0, self.length, count, endpoint=not self._closed)
        return np.asarray(np.interp(s, self._arc, self._parameter), dtype=np.float64)
