"""Where points and lines on flat ground are in the image of a leaning camera.

Straight pieces on the ground stay straight in the image of a pinhole, so a line is carried over
corner by corner and read at the centre of each image row.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from numba import njit

from donkey_rl.envs.simulator import vehicle
from donkey_rl.envs.simulator.sensors import CameraConfig
from donkey_rl.experiments.fidelity.poses import Poses

FloatArray = npt.NDArray[np.float64]

NEAREST = 0.2
"""Nothing nearer than this along the optical axis is drawn (u)."""


@dataclasses.dataclass(frozen=True)
class Mounting:
    """How a camera sits on the car; lengths in u, angles in rad.

    Attributes:
        right: From the car's origin; `forward` likewise.
        above: Above the ground.
        pitch: Downwards.
        yaw: To the right.
        roll: Positive where the camera's right side is up.
        fov: Vertical field of view.
    """

    right: float
    above: float
    forward: float
    pitch: float
    yaw: float
    roll: float
    fov: float

    def focal(self, height: int) -> float:
        """Returns the focal length in pixels for an image of that height."""
        return 0.5 * height / math.tan(0.5 * self.fov)

    def horizon(self, height: int) -> float:
        """Returns the row of the horizon in the middle of the image, for a level body."""
        return 0.5 * height - self.focal(height) * math.tan(self.pitch)


def mounting(camera: CameraConfig) -> Mounting:
    """Returns the mounting that a configuration describes."""
    return Mounting(
        right=camera.offset_x,
        above=camera.offset_y + vehicle.RIDE_HEIGHT,
        forward=camera.offset_z,
        pitch=math.radians(camera.rot_x),
        yaw=math.radians(camera.rot_y),
        roll=math.radians(camera.rot_z),
        fov=math.radians(camera.fov),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Sight:
    """Cameras at k places.

    Attributes:
        eye: Place of each camera: x, z and height above the ground (u), shape (k, 3).
        turn: Turns x, z, up into right, ahead and up of the image, shape (k, 3, 3).
        focal: In pixels.
        size: Height and width of the image.
    """

    eye: FloatArray
    turn: FloatArray
    focal: float
    size: tuple[int, int]


def _turned(yaw: FloatArray, pitch: FloatArray, roll: FloatArray) -> FloatArray:
    """Returns matrices that turn right, ahead, up into those of a turned frame.

    First yaw to the right, then pitch downwards, then roll with the right side up: Unity's
    order. Shape (k, 3, 3).
    """
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def matrix(*rows: tuple[FloatArray, FloatArray, FloatArray]) -> FloatArray:
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    sine, cosine = np.sin(yaw), np.cos(yaw)
    first = matrix((cosine, -sine, zero), (sine, cosine, zero), (zero, zero, one))
    sine, cosine = np.sin(pitch), np.cos(pitch)
    second = matrix((one, zero, zero), (zero, cosine, -sine), (zero, sine, cosine))
    sine, cosine = np.sin(roll), np.cos(roll)
    third = matrix((cosine, zero, sine), (zero, one, zero), (-sine, zero, cosine))
    return np.asarray(third @ second @ first)


def sight(poses: Poses, camera: Mounting, size: tuple[int, int]) -> Sight:
    """Returns the cameras on cars at `poses`.

    Args:
        poses: Of k cars.
        camera: How it sits on each of them.
        size: Height and width of the image in pixels.
    """
    body = _turned(poses.yaw, poses.pitch, poses.roll)
    own = _turned(*(np.array([angle]) for angle in (camera.yaw, camera.pitch, camera.roll)))
    # The body leans around its centre of mass and takes the camera along.
    mass = vehicle.MASS_HEIGHT
    offset = np.array([camera.right, camera.forward, camera.above - mass])
    eye = np.einsum("kji,j->ki", body, offset)
    eye += np.column_stack([poses.x, poses.z, np.full(len(poses), mass)])
    return Sight(eye, own @ body, camera.focal(size[0]), size)


def pixels(view: Sight, points: FloatArray) -> FloatArray:
    """Returns where ground points are in the images.

    Args:
        view: k cameras.
        points: ``[x, z]`` in u, shape (k, m, 2).

    Returns:
        Column and row, shape (k, m, 2); pixel centres lie at halves. NaN behind the camera.
    """
    gap = np.empty((*points.shape[:2], 3))
    gap[..., :2] = points - view.eye[:, None, :2]
    gap[..., 2] = -view.eye[:, None, 2]
    right, ahead, up = np.moveaxis(np.einsum("kij,kmj->kmi", view.turn, gap), -1, 0)
    height, width = view.size
    seen = ahead > NEAREST
    scale = view.focal / np.where(seen, ahead, np.nan)
    return np.stack([0.5 * width + scale * right, 0.5 * height - scale * up], axis=-1)


def columns(view: Sight, line: FloatArray, first: npt.NDArray[np.int64], count: int) -> FloatArray:
    """Returns the column at which each image row meets a line on the ground.

    Where a row meets it more than once, the place nearest along the line counts; places behind
    a part of the line that reaches farther are left out.

    Args:
        view: k cameras.
        line: Corners ``[x, z]`` in u of a closed line, shape (m, 2).
        first: Corner at which each camera begins to follow it, shape (k,).
        count: How many corners it follows.

    Returns:
        Shape (k, h), NaN where the row does not meet it; also beside the image.
    """
    out = np.full((len(view.eye), view.size[0]), np.nan)
    _columns(view.eye, view.turn, view.focal, line, first, count, view.size[1], out)
    return out


@njit(cache=True)
def _columns(eye, turn, focal, line, first, count, width, out):  # type: ignore[no-untyped-def]
    """Fills in `out`; arguments as of `columns`."""
    height = out.shape[1]
    for k in range(out.shape[0]):
        if not (math.isfinite(eye[k, 0]) and math.isfinite(turn[k, 0, 0])):
            continue
        top = 1e9
        before_right, before_ahead, before_up = 0.0, -1.0, 0.0
        for step in range(count):
            corner = line[(first[k] + step) % line.shape[0]]
            dx, dz, down = corner[0] - eye[k, 0], corner[1] - eye[k, 1], -eye[k, 2]
            right = turn[k, 0, 0] * dx + turn[k, 0, 1] * dz + turn[k, 0, 2] * down
            ahead = turn[k, 1, 0] * dx + turn[k, 1, 1] * dz + turn[k, 1, 2] * down
            up = turn[k, 2, 0] * dx + turn[k, 2, 1] * dz + turn[k, 2, 2] * down
            if step and max(ahead, before_ahead) > NEAREST:
                x0, d0, y0 = before_right, before_ahead, before_up
                x1, d1, y1 = right, ahead, up
                if d0 < NEAREST or d1 < NEAREST:
                    share = (NEAREST - d0) / (d1 - d0)
                    x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
                    if d0 < NEAREST:
                        x0, d0, y0 = x, NEAREST, y
                    else:
                        x1, d1, y1 = x, NEAREST, y
                u0, v0 = 0.5 * width + focal * x0 / d0, 0.5 * height - focal * y0 / d0
                u1, v1 = 0.5 * width + focal * x1 / d1, 0.5 * height - focal * y1 / d1
                if v1 < v0 and v1 < top:
                    low = max(0, math.ceil(v1 - 0.5))
                    high = min(height - 1, math.floor(min(v0, top) - 0.5))
                    for row in range(low, high + 1):
                        out[k, row] = u0 + (row + 0.5 - v0) / (v1 - v0) * (u1 - u0)
                    top = v1
            before_right, before_ahead, before_up = right, ahead, up
