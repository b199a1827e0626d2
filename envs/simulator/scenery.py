"""What a track is furnished with: paint, obstacles, barriers, a start grid and colours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from donkey_rl.envs.simulator.path import FloatArray

Colour = tuple[int, int, int]
Shape = Literal["cone", "box"]
Surroundings = Literal["hills", "trees", "room", "hall"]

MATERIALS = (
    "road",
    "road_grain",
    "edge_line",
    "centre_line",
    "shoulder",
    "ground",
    "ground_grain",
)


@dataclasses.dataclass(frozen=True)
class Pose:
    """A place and a direction on the ground: x and z in u, yaw in rad."""

    x: float
    z: float
    yaw: float

    def mirrored(self) -> Pose:
        """Returns the image under x -> -x."""
        return Pose(-self.x, self.z, -self.yaw)


@dataclasses.dataclass(frozen=True)
class Stripe:
    """A band of one surface along the road; later stripes lie over earlier ones.

    Attributes:
        start: Lateral offset of its left side in u, less than ``end``.
        end: Lateral offset of its right side in u.
        material: One of ``MATERIALS``.
        dash: Painted and unpainted length in u, or None for a solid band.
    """

    start: float
    end: float
    material: str
    dash: tuple[float, float] | None = None

    def mirrored(self) -> Stripe:
        """Returns the stripe with left and right exchanged."""
        return dataclasses.replace(self, start=-self.end, end=-self.start)


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """A thing beside the road.

    Attributes:
        name: What telemetry reports as ``hit``.
        shape: A cone, or a box turned by ``yaw``.
        x: Centre in u.
        z: Centre in u.
        yaw: Direction of the box's length in rad.
        width: Extent across ``yaw`` in u (of a cone: the diameter of its foot).
        length: Extent along ``yaw`` in u.
        height: Extent upwards in u.
        colour: Red, green and blue, 0 to 255.
        solid: Whether a car is stopped by it.
    """

    name: str
    shape: Shape
    x: float
    z: float
    yaw: float
    width: float
    length: float
    height: float
    colour: Colour
    solid: bool = True

    @property
    def radius(self) -> float:
        """Radius of the circle around its foot in u."""
        if self.shape == "cone":
            return 0.5 * self.width
        return 0.5 * math.hypot(self.width, self.length)

    def mirrored(self) -> Obstacle:
        """Returns the image under x -> -x."""
        return dataclasses.replace(self, x=-self.x, yaw=-self.yaw)


@dataclasses.dataclass(frozen=True, eq=False)
class Barrier:
    """A wall that no car passes.

    Attributes:
        name: What telemetry reports as ``hit``.
        points: ``(k, 2)`` corners ``[x, z]`` in u; a closed wall repeats its first.
        height: In u.
        colour: Red, green and blue, 0 to 255.
    """

    name: str
    points: FloatArray
    height: float
    colour: Colour

    def mirrored(self) -> Barrier:
        """Returns the image under x -> -x."""
        return dataclasses.replace(self, points=self.points * np.array([-1.0, 1.0]))


@dataclasses.dataclass(frozen=True, eq=False)
class Hedge:
    """A line of high grass or bushes that is no obstacle.

    Attributes:
        points: ``(k, 2)`` corners ``[x, z]`` in u; a closed one repeats its first.
        height: In u.
    """

    points: FloatArray
    height: float

    def mirrored(self) -> Hedge:
        """Returns the image under x -> -x."""
        return dataclasses.replace(self, points=self.points * np.array([-1.0, 1.0]))


@dataclasses.dataclass(frozen=True)
class Palm:
    """A palm that is no obstacle: place and height in u."""

    x: float
    z: float
    height: float

    def mirrored(self) -> Palm:
        """Returns the image under x -> -x."""
        return dataclasses.replace(self, x=-self.x)


@dataclasses.dataclass(frozen=True)
class Hill:
    """A hill at the horizon: azimuth of its middle, half its width and its elevation, in rad."""

    azimuth: float
    half_width: float
    elevation: float

    def mirrored(self) -> Hill:
        """Returns the image under x -> -x."""
        return dataclasses.replace(self, azimuth=-self.azimuth)


@dataclasses.dataclass(frozen=True)
class StartGrid:
    """Where cars stand before a race.

    Attributes:
        poses: The start poses; usually one.
        columns: Cars side by side at each pose.
        column_spacing: From one column to the next in u, to the left (negative: to the right).
        row_spacing: From one row to the next in u, backwards.
    """

    poses: tuple[Pose, ...]
    columns: int = 2
    column_spacing: float = 4.5
    row_spacing: float = 5.0

    def slot(self, k: int) -> Pose:
        """Returns where the k-th car stands, by the rule of the simulator's car spawner.

        Start pose ``k mod n``, then columns from right to left, then rows from front to back:
        with ``q = k div n``, column ``q mod columns`` and row ``q div columns``.

        Args:
            k: Number of the car, from 0.
        """
        turn, index = divmod(k, len(self.poses))
        row, column = divmod(turn, self.columns)
        pose = self.poses[index]
        right = -self.column_spacing * column
        ahead = -self.row_spacing * row
        sine, cosine = math.sin(pose.yaw), math.cos(pose.yaw)
        return Pose(
            x=pose.x + right * cosine + ahead * sine,
            z=pose.z - right * sine + ahead * cosine,
            yaw=pose.yaw,
        )

    def mirrored(self) -> StartGrid:
        """Returns the image under x -> -x: columns then stand to the right of the first car."""
        return dataclasses.replace(
            self,
            poses=tuple(pose.mirrored() for pose in self.poses),
            column_spacing=-self.column_spacing,
        )


@dataclasses.dataclass(frozen=True)
class Sun:
    """Where the sun stands: azimuth clockwise from +Z and elevation, in rad."""

    azimuth: float
    elevation: float

    def mirrored(self) -> Sun:
        """Returns the image under x -> -x."""
        return dataclasses.replace(self, azimuth=-self.azimuth)


@dataclasses.dataclass(frozen=True)
class Look:
    """The colours of a scene.

    Attributes:
        colours: Red, green and blue of each of ``MATERIALS``, 0 to 255.
        grain: Strength of the grain of road and ground, 0 to 1.
        scenery: What stands at the horizon.
        sky_top: Colour straight above (indoors: of the ceiling).
        sky_horizon: Colour just above the horizon (indoors: of the walls).
        indoor: Whether walls hide the horizon.
        wear: Share of ``road_grain`` in the road over the lateral offset, as (offset in u, share)
            from left to right, linear between; half everywhere if empty.
        worn_lines: How wavy and broken painted lines are, 0 to 1.
        sheen: How much the road shines at a distance and towards the sun, 0 to 1.
        sun: Where shadows come from; none without.
        hills: What stands at the horizon; drawn at random if empty.
    """

    colours: Mapping[str, Colour]
    grain: float
    scenery: Surroundings
    sky_top: Colour
    sky_horizon: Colour
    indoor: bool = False
    wear: tuple[tuple[float, float], ...] = ()
    worn_lines: float = 0.0
    sheen: float = 0.0
    sun: Sun | None = None
    hills: tuple[Hill, ...] = ()

    def mirrored(self) -> Look:
        """Returns the image under x -> -x."""
        return dataclasses.replace(
            self,
            wear=tuple((-offset, share) for offset, share in reversed(self.wear)),
            sun=self.sun.mirrored() if self.sun else None,
            hills=tuple(hill.mirrored() for hill in self.hills),
        )
